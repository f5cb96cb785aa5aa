package wire

import (
	"testing"

	"nearcast/proxy/message"
)

func TestOnlyWhatCanBeSentIsAppended(t *testing.T) {
	f := message.Fields{{Name: "a", Value: "b"}, {Name: "connection", Value: "x"}, {Name: "content-length", Value: "1"}, {Name: "b", Value: "1\r\nc: d"},
		{Name: "b", Value: "1\x00"}, {Name: "", Value: "x"}, {Name: "a b", Value: "x"}, {Name: "c:", Value: "x"}, {Name: "long", Value: "1234567890\n"}, {Name: "z"},
		{Name: "Content-Length", Value: "1"}, {Name: "Transfer-Encoding", Value: "chunked"}, {Name: "X", Value: "y"}}
	if got := string(AppendFields(nil, f)); got != "a: b\r\nz: \r\n" {
		t.Errorf("got %q", got)
	}
	if got := string(AppendLastChunk(nil, append(f, message.Field{Name: "content-type", Value: "x"}))); got != "0\r\na: b\r\nz: \r\n\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestNumbersAndStatusLines(t *testing.T) {
	b := AppendStatusLine(nil, 404)
	b = AppendStatusLine(b, 299)
	b = AppendContentLength(b, 1234567890123)
	b = AppendChunkHeader(b, 0x1f40)
	if got := string(b); got != "HTTP/1.1 404 Not Found\r\nHTTP/1.1 299 \r\ncontent-length: 1234567890123\r\n1f40\r\n" {
		t.Errorf("got %q", got)
	}
}
