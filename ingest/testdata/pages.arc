filedesc://pages.arc 0.0.0.0 20230907000000 text/plain 68
1 0 Example
URL IP-address Archive-date Content-type Archive-length

http://example.org/a page 192.0.2.1 20230907000000 text/html 129
HTTP/1.1 200 OK
Content-Type: text/html; charset=utf-8

<html><title>Bamboo</title><body><p>Moso bamboo grows slowly.</p></html>

http://example.org/gone 192.0.2.1 20230907000001 text/html 34
HTTP/1.1 404 Not Found

Not here.

http://example.org/text 192.0.2.1 20230907000002 text/plain 200 - - 1000 pages.arc 54
HTTP/1.1 200 OK
Content-Type: text/plain

Plain text.

