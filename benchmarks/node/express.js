// What a user would write himself: the same bearer check, the same answer.
// Without CRM the answers come from a map; with CRM each lookup asks it by axios over kept-alive connections.
const crypto = require("crypto");
const http = require("http");
const express = require("express");
const axios = require("axios");
const { card } = require("./card");

const app = express();
const secret = crypto.createHash("sha256").update(process.env.SECRET).digest();
const crm = axios.create({
  baseURL: process.env.CRM,
  httpAgent: new http.Agent({ keepAlive: true }),
  timeout: 2800,
});
const known = new Map(process.env.KNOWN ? Object.entries(require(process.env.KNOWN)) : []);
app.disable("x-powered-by");

app.use((req, res, next) => {
  const token = (req.get("authorization") || "").replace(/^Bearer /, "");
  const digest = crypto.createHash("sha256").update(token).digest();
  if (crypto.timingSafeEqual(digest, secret)) next();
  else res.status(403).json({ message: "Wrong secret." });
});

app.get("/:customer/lookup", async (req, res) => {
  const number = req.query.fromNumber;
  try {
    const found = process.env.CRM
      ? (await crm.get("/contacts", { params: { number } })).data.map(card)[0]
      : known.get(number);
    if (found) res.json(found);
    else res.status(404).json({ message: "Nobody has the number." });
  } catch {
    res.status(503).json({ message: "The CRM could not be asked." });
  }
});

app.post("/:customer/calllog", express.json(), async (req, res) => {
  try {
    await crm.post("/calls", { key: `${req.body.fromNumber} ${req.body.startTime}` });
    res.json({});
  } catch {
    res.status(503).json({ message: "The CRM could not be asked." });
  }
});

app.listen(Number(process.env.PORT), "127.0.0.1", 4096);
