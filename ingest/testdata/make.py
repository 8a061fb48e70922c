"""Writes pages.warc.gz, pages.jsonl, table.parquet and table.jsonl."""

import gzip
import io
import json
import zlib

import brotli
import pyarrow
import pyarrow.parquet
from warcio.archiveiterator import ArchiveIterator
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

ENGLISH = "<html><head><title>Bamboo</title></head><body><p>Moso bamboo grows slowly for years.</p></body></html>"
CHINESE = "<html><head><title>毛竹</title></head><body><p>毛竹先长根，后长高，几个星期就长到十几米。</p></body></html>"


def chunked(data):
    pieces = [data[at : at + 40] for at in range(0, len(data), 40)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


RESPONSES = [
    ("http://example.org/utf8", "200 OK", [("Content-Type", "text/html; charset=utf-8")], CHINESE.encode()),
    ("http://example.cn/gbk", "200 OK", [("Content-Type", 'text/html;charset="GBK"')], CHINESE.encode("gb18030")),
    ("http://example.tw/undeclared", "200 OK", [("Content-Type", "text/html")], CHINESE.replace("长", "長").replace("几个", "幾個").replace("几", "幾").replace("后", "後").encode("big5")),
    ("http://example.org/gzip", "200 OK", [("Content-Type", "text/html"), ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")], chunked(gzip.compress(ENGLISH.encode(), mtime=0))),
    ("http://example.org/deflate", "200 OK", [("Content-Type", "application/xhtml+xml"), ("Content-Encoding", "deflate")], zlib.compress(ENGLISH.encode())),
    ("http://example.org/decoded", "200 OK", [("Content-Type", "text/html"), ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")], ENGLISH.encode()),
    ("http://example.org/brotli", "200 OK", [("Content-Type", "text/html"), ("Content-Encoding", "br")], brotli.compress(ENGLISH.encode())),
    ("http://example.org/untyped", "200 OK", [], ENGLISH.encode()),
    ("http://example.org/missing", "404 Not Found", [("Content-Type", "text/html")], ENGLISH.encode()),
    ("http://example.org/picture", "200 OK", [("Content-Type", "image/png")], b"\x89PNG\r\n\x1a\n" + bytes(50)),
    ("http://example.org/text", "203 OK", [("Content-Type", "text/plain")], "Plain text, déjà vu.".encode("cp1252")),
]


def write_warc(path):
    with open(path, "wb") as file:
        writer = WARCWriter(file, gzip=True)
        fixed = {"WARC-Date": "2023-09-07T00:00:00Z", "WARC-Record-ID": "<urn:uuid:00000000-0000-0000-0000-000000000000>"}
        info = writer.create_warcinfo_record("pages.warc.gz", {"software": "warcio"})
        info.rec_headers.replace_header("WARC-Date", fixed["WARC-Date"])
        info.rec_headers.replace_header("WARC-Record-ID", fixed["WARC-Record-ID"])
        writer.write_record(info)
        for url, status, headers, body in RESPONSES:
            head = StatusAndHeaders(status, headers, protocol="HTTP/1.1")
            request = StatusAndHeaders("GET / HTTP/1.1", [("Host", "example.org")], is_http_request=True)
            writer.write_record(writer.create_warc_record(url, "request", http_headers=request, warc_headers_dict=dict(fixed)))
            writer.write_record(
                writer.create_warc_record(url, "response", payload=io.BytesIO(body), http_headers=head, warc_headers_dict=dict(fixed))
            )
        for kind, mime in [("resource", "text/html"), ("conversion", "text/plain"), ("metadata", "text/plain")]:
            writer.write_record(
                writer.create_warc_record(
                    f"http://example.org/{kind}",
                    kind,
                    payload=io.BytesIO(ENGLISH.encode()),
                    warc_content_type=mime,
                    warc_headers_dict=dict(fixed),
                )
            )


def list_warc(path, listing):
    with open(path, "rb") as file, open(listing, "w") as out:
        for number, record in enumerate(ArchiveIterator(file), 1):
            if record.rec_type not in ("response", "resource", "conversion"):
                continue
            # warcio 1.8.1 does not know the decoder of brotli 1.2.
            is_brotli = record.http_headers and record.http_headers.get_header("Content-Encoding") == "br"
            body = brotli.decompress(record.raw_stream.read()) if is_brotli else record.content_stream().read()
            row = {"number": number, "url": record.rec_headers.get_header("WARC-Target-URI"), "n_bytes": len(body)}
            row["status"] = record.http_headers.get_statuscode() if record.http_headers else None
            out.write(json.dumps(row) + "\n")


def rows():
    for index in range(10):
        yield {
            "text": None if index == 7 else f"Row {index} 竹子 " + "x" * index,
            "url": f"http://example.org/{index}",
            "meta": {"lang": "en" if index % 2 else "zh", "score": index / 8},
            "messages": [{"role": "user", "content": f"question {n}"} for n in range(index % 4)],
            "tags": ["same", "same", None][: index % 4],
            "flag": index % 3 == 0,
            "count": index * 1_000_000_007,
            "small": pyarrow.scalar(index, pyarrow.int8()).as_py(),
            "ratio": index * 0.1,
            "raw": f"bytes {index}".encode(),
        }


def write_table(path, listing):
    schema = pyarrow.schema(
        [
            ("text", pyarrow.large_string()),
            ("url", pyarrow.dictionary(pyarrow.int32(), pyarrow.string())),
            ("meta", pyarrow.struct([("lang", pyarrow.string()), ("score", pyarrow.float64())])),
            ("messages", pyarrow.list_(pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())]))),
            ("tags", pyarrow.list_(pyarrow.string())),
            ("flag", pyarrow.bool_()),
            ("count", pyarrow.int64()),
            ("small", pyarrow.int8()),
            ("ratio", pyarrow.float32()),
            ("raw", pyarrow.binary()),
        ]
    )
    table = pyarrow.Table.from_pylist(list(rows()), schema=schema)
    codecs = {"text": "snappy", "url": "zstd", "messages.list.element.role": "gzip", "messages.list.element.content": "lz4"}
    pyarrow.parquet.write_table(table, path, row_group_size=4, compression={**{name: "none" for name in schema.names}, **codecs})
    with open(listing, "w") as out:
        for row in pyarrow.parquet.read_table(path).to_pylist():
            row["raw"] = row["raw"].decode()
            row["ratio"] = round(row["ratio"], 6)
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


write_warc("pages.warc.gz")
list_warc("pages.warc.gz", "pages.jsonl")
write_table("table.parquet", "table.jsonl")
