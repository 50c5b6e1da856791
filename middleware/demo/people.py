"""Who the demo's customers know; every number is from a range that is reserved for fiction.

Numbers stand as untidily as people type them into CRMs.
"""

from __future__ import annotations

# id, name, company, title, e-mail, numbers
SWEDES: list[tuple[int, str, str, str, str, list[str]]] = [
    (101, "Maria Andersson", "Fjällbris Konsult AB", "Inköpschef", "maria.andersson@fjallbris.example", ["070-174 06 05", "08-465 004 12 ankn 31"]),
    (102, "Erik Lindqvist", "Fjällbris Konsult AB", "VD", "erik.lindqvist@fjallbris.example", ["+46 (0)70 174 06 06"]),
    (103, "Fjällbris Konsult AB", "Fjällbris Konsult AB", "", "info@fjallbris.example", ["08-465 004 12 (växel)"]),
    (104, "Åsa Öberg", "Tandläkarna vid Torget", "Tandläkare", "asa@tandlakarna.example", ["0046701740607"]),
    (105, "Johan Öberg", "", "", "johan.oberg@post.example", ["031-390 06 12", "0701740608 (mobil)"]),
    (106, "Lisa Öberg", "", "", "lisa.oberg@post.example", ["031 390 06 12"]),
    (107, "Amir Haddad", "Haddad Bygg", "Ägare", "amir@haddadbygg.example", ["070-1740609 / 031-390 06 13"]),
    (108, "Karin Nyström", "Norrsken Event", "Projektledare", "karin@norrsken.example", ["+46-70-174 06 10"]),
    (109, "Oskar Berg", "Bergs Åkeri", "Trafikledare", "oskar@bergsakeri.example", ["Mobil: 070 174 06 11"]),
    (110, "Sara Holm", "Holm & Holm Juridik", "Advokat", "sara@holmjuridik.example", ["46701740612"]),
    (111, "Nils Ek", "Ek Redovisning", "Revisor", "nils@ekredovisning.example", ["070.174.06.13"]),
    (112, "Fatima Yilmaz", "Yilmaz Livs", "Butikschef", "fatima@yilmazlivs.example", ["(070) 174 06 14"]),
    (113, "Per Sundström", "Sundström El", "Elektriker", "per@sundstromel.example", ["08 465 004 13", "0701740615"]),
    (114, "Elin Ström", "", "", "elin.strom@post.example", ["+46701740616"]),
    (115, "Gunnar Dahl", "Dahl Fastigheter", "Förvaltare", "gunnar@dahlfast.example", ["08-465 004 14, 070-174 06 17"]),
    (116, "Mona Wik (konferensrummet)", "Fjällbris Konsult AB", "", "", ["konf-4"]),
]  # fmt: skip
BRITONS: list[tuple[int, str, str, str, str, list[str]]] = [
    (1, "Alice Thornton", "Harbour Books", "Owner", "alice@harbourbooks.example", ["07700 900101", "020 7946 0101 ext. 7"]),
    (2, "Ben Okafor", "Okafor Catering", "Chef", "ben@okaforcatering.example", ["+44 (0)7700 900102"]),
    (3, "Harbour Books Ltd", "Harbour Books", "", "hello@harbourbooks.example", ["020 7946 0101"]),
    (4, "Chloe Davies", "", "", "chloe.davies@mail.example", ["00447700900103"]),
    (5, "Dylan Price", "Price & Sons", "Plumber", "dylan@priceandsons.example", ["07700-900104"]),
    (6, "Emma Hughes", "Hughes Dental", "Practice manager", "emma@hughesdental.example", ["0161 496 0105 (reception)"]),
    (7, "George Patel", "Patel Pharmacy", "Pharmacist", "george@patelpharmacy.example", ["447700900106"]),
    (8, "Hannah Clarke", "Clarke Studio", "Designer", "hannah@clarkestudio.example", ["(07700) 900107"]),
    (9, "Isaac Wood", "Wood Joinery", "Joiner", "isaac@woodjoinery.example", ["07700 900108 / 020 7946 0108"]),
    (10, "Jasmine Khan", "", "", "jasmine.khan@mail.example", ["07700900109"]),
    (11, "Liam Murphy", "Murphy Motors", "Sales", "liam@murphymotors.example", ["Mobile 07700 900110"]),
    (12, "Nora Evans", "Evans Florists", "Florist", "nora@evansflorists.example", ["+447700900111"]),
    (13, "Owen Bell", "Bell Logistics", "Dispatcher", "owen@belllogistics.example", ["020.7946.0112"]),
    (14, "Priya Shah", "Shah Legal", "Solicitor", "priya@shahlegal.example", ["+44 20 7946 0113"]),
]  # fmt: skip
