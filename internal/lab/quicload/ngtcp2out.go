package quicload

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// streamParser follows what the client says of its one request: fields, and the body as a hex dump.
//
//	http: stream 0x0 [via: 3.0 edge-1 (nearcast)]
//	http: stream 0x0 body 2 bytes
//	00000000  31 0a                                             |1.|
//	HTTP stream 0 closed with error code 256
type streamParser struct {
	records []Record
	last    time.Time // of the last line of the stream, or the start
	status  string
	via     string
	said    string // the last thing that was neither a packet nor a part of the response
	over    bool

	dump    int // octets of the dump that are still to come
	partial []byte
	next    int // number of the next line
}

var (
	fieldLine = regexp.MustCompile(`^http: stream 0x0 \[([^ \]]+): (.*)\]$`)
	bodyLine  = regexp.MustCompile(`^http: stream 0x0 body ([0-9]{1,7}) bytes$`)
	packets   = regexp.MustCompile(`^(I[0-9]{8} |http: |Sent packet|Received packet|Set timer|Timer |QUIC handshake |Negotiated |Updating |\[:?[a-z-]+: |[0-9a-f]{8}($| ))`)
)

// line takes a line of the output that came at a time.
func (p *streamParser) line(text string, at time.Time) {
	if p.over {
		return
	}
	if p.dump > 0 && len(text) > 8 && p.take(text, at) {
		return
	}
	if m := fieldLine.FindStringSubmatch(text); m != nil {
		switch m[1] {
		case ":status":
			p.status = m[2]
		case "via":
			p.via = via([]string{m[2]})
		}
		return
	}
	if m := bodyLine.FindStringSubmatch(text); m != nil {
		p.dump, _ = strconv.Atoi(m[1]) // seven digits always fit
		return
	}
	if code, ok := strings.CutPrefix(text, "HTTP stream 0 closed with error code "); ok {
		p.said = "the stream was closed with error code " + code
		if code == "256" && p.status == "200" { // H3_NO_ERROR: all lines were sent
			p.over = true
		}
		return
	}
	if text != "" && !packets.MatchString(text) {
		p.said = text
	}
}

// take reads a row of the dump, of up to 16 octets between its offset and their text.
func (p *streamParser) take(text string, at time.Time) bool {
	row, _, ok := strings.Cut(text[8:], "|")
	if !ok {
		return false
	}
	data, err := hex.DecodeString(strings.ReplaceAll(row, " ", ""))
	if err != nil || len(data) > p.dump {
		return false
	}
	p.dump -= len(data)
	p.partial = append(p.partial, data...)
	for {
		line, rest, ok := bytes.Cut(p.partial, []byte{'\n'})
		if !ok {
			p.partial = p.partial[:min(len(p.partial), maxLine)]
			return true
		}
		p.partial = rest
		p.arrived(string(line), at)
	}
}

// arrived records a line of the stream.
func (p *streamParser) arrived(line string, at time.Time) {
	if len(p.records) >= maxRequests {
		return
	}
	r := Record{Start: p.last, End: at, Protocol: "h3", Via: p.via, Connection: 1}
	if p.status != "200" {
		r.Err = "status " + p.status
	} else if line != strconv.Itoa(p.next) {
		r.Err = fmt.Sprintf("line %.20q where %d was due", line, p.next)
	}
	p.next++
	p.last = at
	p.records = append(p.records, r)
}

// ended is the end of the program, which is a failure unless the stream had ended.
func (p *streamParser) ended(at time.Time) {
	if p.over {
		return
	}
	p.over = true
	reason := p.said
	if reason == "" {
		reason = "it ended without a word"
	}
	p.records = append(p.records, Record{Start: p.last, End: at, Err: reason, Protocol: "h3", Via: p.via, Connection: 1})
}
