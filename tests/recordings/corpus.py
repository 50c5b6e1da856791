"""What may not be fetched: 49 URLs, each with what its host's name leads to where it has one (RELIABILITY, E13)."""

from __future__ import annotations

# URL, and the addresses a resolver gives for its host ("" asks none: the URL itself must be refused)
CORPUS: tuple[tuple[str, str], ...] = (
    # this machine
    ("https://127.0.0.1/a", "127.0.0.1"),
    ("https://127.1/a", "127.0.0.1"),
    ("https://2130706433/a", "127.0.0.1"),
    ("https://0x7f000001/a", "127.0.0.1"),
    ("https://0177.0.0.1/a", "127.0.0.1"),
    ("https://0.0.0.0/a", "0.0.0.0"),
    ("https://localhost/a", "127.0.0.1"),
    ("https://localhost.example.com/a", "127.0.0.1"),
    ("https://[::1]/a", "::1"),
    ("https://[::]/a", "::"),
    ("https://[::127.0.0.1]/a", "::127.0.0.1"),
    ("https://[::ffff:127.0.0.1]/a", "::ffff:127.0.0.1"),
    ("https://[::ffff:0:127.0.0.1]/a", "::ffff:0:127.0.0.1"),
    # this network
    ("https://ten.example.com/a", "10.0.0.1"),
    ("https://office.example.com/a", "172.16.0.1"),
    ("https://router.example.com/a", "192.168.1.1"),
    ("https://carrier.example.com/a", "100.64.0.1"),
    ("https://local.example.com/a", "169.254.1.1"),
    ("https://ula.example.com/a", "fd00::1"),
    ("https://link.example.com/a", "fe80::1"),
    ("https://zone.example.com/a", "fe80::1%eth0"),
    ("https://site.example.com/a", "fec0::1"),
    # clouds' own services
    ("https://169.254.169.254/latest/meta-data", "169.254.169.254"),
    ("https://metadata.example.com/a", "169.254.169.254"),
    ("https://azure.example.com/a", "168.63.129.16"),
    ("https://oracle.example.com/a", "192.0.0.192"),
    ("https://alibaba.example.com/a", "100.100.100.200"),
    ("https://aws6.example.com/a", "fd00:ec2::254"),
    # what leads inside by translation
    ("https://nat64.example.com/a", "64:ff9b::7f00:1"),
    ("https://nat64own.example.com/a", "64:ff9b:1::7f00:1"),
    ("https://sixtofour.example.com/a", "2002:7f00:1::1"),
    ("https://teredo.example.com/a", "2001:0:7f00:1::1"),
    ("https://relay.example.com/a", "192.88.99.1"),
    # what is nobody's
    ("https://multicast.example.com/a", "224.0.0.1"),
    ("https://multicast6.example.com/a", "ff02::1"),
    ("https://broadcast.example.com/a", "255.255.255.255"),
    ("https://reserved.example.com/a", "240.0.0.1"),
    ("https://bench.example.com/a", "198.18.0.1"),
    ("https://doc.example.com/a", "2001:db8::1"),
    ("https://mixed.example.com/a", "93.184.215.14 127.0.0.1"),
    # what two readers understand differently, or is not https
    ("https://127.0.0.1\\@files.example.com/a", ""),
    ("https://files.example.com@127.0.0.1/a", ""),
    ("https://files.example.com#@127.0.0.1/a", ""),
    ("https://files.example.com\r\nHost: inside/a", ""),
    ("https://\uff46iles.example.com/a", ""),
    ("http://files.example.com/a", ""),
    ("file:///etc/passwd", ""),
    ("gopher://files.example.com/_a", ""),
    ("//files.example.com/a", ""),
)
