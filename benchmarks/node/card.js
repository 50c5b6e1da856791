// From the CRM's contact to the answer that M8Com Insights wants.
exports.card = (row) => ({
  displayName: row.name,
  phoneNumbers: [{ number: row.phone, comment: "Work" }],
  emails: [{ address: row.email, comment: "Work" }],
  fields: row.facts.map((fact) => ({ title: fact.title, comment: fact.comment })),
});
