"""Texts that programs stumble over, made by rules: paths, escapes, controls, scripts, look-alikes, sizes, devices."""

import unicodedata
from itertools import product

_PATHS = [
    "..",
    "../",
    "../../etc/passwd",
    "..\\..\\x",
    "/etc/passwd",
    "a/../../b",
    "./a",
    "a/.",
    "a//b",
    "~",
    "~root",
    "C:\\x",
]
_ESCAPES = [
    "%2e%2e",
    "%2e%2e%2f",
    "%252e%252e%252f",
    "..%2f",
    "..%5c",
    "%c0%ae%c0%ae",
    "%00",
    "%u002e",
    "a%2fb",
    "a%00b",
    "%",
]
_CONTROLS = [
    chr(code) for code in (*range(1, 32), 127, 0x85, 0xA0, 0x200B, 0x200E, 0x202E, 0x2028, 0x2029, 0xFEFF, 0xFFFD)
]
_DEVICES = [
    f"{name}{suffix}" for name, suffix in product(("CON", "nul", "Aux", "PRN", "com1", "LPT9"), ("", ".txt", ".tif"))
]
_MARKUP = [
    "<script>window.__pwned=1</script>",
    "<img src=x onerror=window.__pwned=1>",
    '"><svg onload=window.__pwned=1>',
    "javascript:window.__pwned=1",
    "</script><script>window.__pwned=1</script>",
    "');window.__pwned=1//",
    "{{7*7}}",
    "${7*7}",
    "#{7*7}",
    "{0.__class__}",
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "`id`",
    "$(id)",
    "; ls",
    "| cat /etc/passwd",
]
_SQL = [
    "' or '1'='1",
    "'; drop table stac_items; --",
    '" or ""="',
    "1) union select secret from stac_state --",
    "x' and geoetl_spatial('a',1,2) --",
    "%' or 1=1 --",
    "admin'--",
    "\\'; select pg_sleep(9); --",
    "$$; select 1; $$",
]
_NUMBERS = [
    "0",
    "-1",
    "1e400",
    "-0",
    "NaN",
    "Infinity",
    "0x10",
    "1_000",
    "٣",
    "１２",
    "1.0.0",
    "00",
    "2**63",
    str(2**64),
]
_LETTERS = [
    "é",
    "é",
    "ß",
    "İ",
    "ǅ",
    "ﬀ",
    "אב",
    "مرحبا",
    "日本",
    "👩‍👩‍👧",
    "𝕏",
    "a\u0301" * 20,
    "\u202etxt.exe",
    "ａ",
    "а",
    "Ω",
    "K",
]
_WORDS = [
    "null",
    "None",
    "undefined",
    "true",
    "self",
    "root",
    "items",
    "search",
    "collections",
    "__proto__",
    "constructor",
    "id",
]
_SIZES = [
    "",
    " ",
    "  a  ",
    "a" * 201,
    "a" * 255,
    "a" * 300,
    "a" * 5000,
    ".",
    "...",
    ".a",
    "a.",
    "-",
    "-a",
    "_a",
    "a-",
    "a..b",
]


def naughty() -> list[str]:
    """Return more than 500 different texts; none has half of a surrogate pair."""
    plain = [*_PATHS, *_ESCAPES, *_CONTROLS, *_DEVICES, *_MARKUP, *_SQL, *_NUMBERS, *_LETTERS, *_WORDS, *_SIZES]
    joined = [f"{start}{text}" for start, text in product(("a", "hil", "images/"), plain)]
    forms = [unicodedata.normalize(form, text) for form, text in product(("NFC", "NFD"), _LETTERS)]  # type: ignore[arg-type]
    return list(dict.fromkeys([*plain, *joined, *forms]))
