package proxy

import (
	"crypto/tls"
	"io"
	"net/netip"
	"sync"
	"time"

	"nearcast/proxy/message"
)

// accessLog writes one line of JSON for each exchange. A nil one writes nothing. The names of the members are an interface:
// docs/operating.md lists them.
type accessLog struct {
	// immutable
	to   io.Writer
	edge string // the members that are the same on every line, up to the client's address

	lines sync.Pool // of *[]byte
	clock clock
}

// maxKeptLine is the longest line whose buffer is used again.
const maxKeptLine = 4 << 10

func newAccessLog(o *Options) *accessLog {
	if o.AccessLog == nil {
		return nil
	}
	l := &accessLog{to: o.AccessLog}
	l.edge = string(appendText(appendText(nil, `,"edge":"`, o.Edge), `,"region":"`, o.Region)) + `,"client_ip":"`
	l.lines.New = func() any { b := make([]byte, 0, 1024); return &b }
	return l
}

// write has a line made and writes it, whole and in one call. What becomes of it is the writer's affair: an exchange does not fail for its log.
func (l *accessLog) write(line func(b []byte) []byte) {
	buf := l.lines.Get().(*[]byte)
	b := append(line((*buf)[:0]), "}\n"...)
	_, _ = l.to.Write(b)
	if cap(b) <= maxKeptLine {
		*buf = b[:0]
		l.lines.Put(buf)
	}
}

// begin appends the members up to the client's.
func (l *accessLog) begin(b []byte, now time.Time, client netip.Addr, proto message.Protocol) []byte {
	b = append(b, `{"time":"`...)
	b = l.clock.appendTime(b, now)
	b = append(b, '"')
	b = append(b, l.edge...)
	if client.IsValid() {
		b = client.AppendTo(b)
	} else {
		b = append(b, client.String()...)
	}
	b = append(b, `","protocol":"`...)
	b = append(b, proto.String()...)
	return append(b, '"')
}

// exchange appends the members of an exchange.
func (l *accessLog) exchange(b []byte, p *Proxy, x *exchange, now time.Time) []byte {
	r := x.r
	b = l.begin(b, now, r.Client.Addr(), r.Protocol)
	b = appendText(b, `,"method":"`, r.Method)
	b = appendText(b, `,"scheme":"`, r.Scheme)
	b = appendText(b, `,"host":"`, r.Authority)
	b = append(b, `,"target":"`...)
	b = appendJSON(b, r.Target.Path)
	if r.Target.HasQuery {
		b = append(b, '?')
		b = appendJSON(b, r.Target.Query)
	}
	b = appendInt(b, `","status":`, int64(x.status))
	b = appendInt(b, `,"bytes_out":`, x.sent)
	if x.tunnel {
		b = appendInt(b, `,"bytes_in":`, x.got)
	}
	b = appendMillis(b, `,"duration_ms":`, now.Sub(r.Received))
	if !x.firstByte.IsZero() {
		b = appendMillis(b, `,"first_byte_ms":`, x.firstByte.Sub(r.Received))
	}
	b = appendTLS(b, r.TLS)
	if x.early != earlyNone {
		b = appendWord(b, `,"early_data":"`, x.early.String())
	}
	if place := p.locate(x); place.Country != "" {
		b = appendText(b, `,"client_country":"`, place.Country)
	}
	b = x.appendRoute(b)
	b = appendFault(b, x.fault)
	if x.incomplete {
		b = append(b, `,"incomplete":true`...)
	}
	if ua := r.Fields.Get("user-agent"); ua != "" {
		b = appendText(b, `,"user_agent":"`, ua)
	}
	return b
}

// appendRoute appends what the steps came upon: service, cache, origin.
func (x *exchange) appendRoute(b []byte) []byte {
	if x.service != nil {
		b = append(b, x.service.logged...)
	}
	if x.asked {
		b = appendWord(b, `,"cache":"`, x.cacheUse().String())
		b = appendWord(b, `,"cache_reason":"`, x.cacheReason().String())
	}
	if x.origin != nil {
		b = append(b, x.origin.logged...)
		b = appendInt(b, `,"attempts":`, int64(x.attempts))
	}
	return b
}

func appendTLS(b []byte, t *message.TLS) []byte {
	if t == nil {
		return b
	}
	b = appendWord(b, `,"tls_version":"`, tls.VersionName(t.Version))
	if t.Resumed {
		return append(b, `,"tls_resumed":true`...)
	}
	return append(b, `,"tls_resumed":false`...)
}

func appendFault(b []byte, e *message.Error) []byte {
	if e == nil {
		return b
	}
	b = appendWord(b, `,"blame":"`, e.Blame.String())
	b = appendText(b, `,"reason":"`, e.Reason)
	if e.Err != nil {
		b = appendText(b, `,"error":"`, e.Err.Error())
	}
	return b
}

// refusal appends the members of a request that a front end refused. What is not known of it is left out; a status of 0 is that of one
// that was ended without an answer.
func (l *accessLog) refusal(b []byte, x *message.Refusal, now time.Time) []byte {
	b = l.begin(b, now, x.Client.Addr(), x.Protocol)
	scheme := "http"
	if x.TLS != nil {
		scheme = "https"
	}
	for _, m := range [...]struct{ key, value string }{{`,"method":"`, x.Method}, {`,"scheme":"`, scheme}, {`,"host":"`, x.Authority}, {`,"target":"`, x.Target}} {
		if m.value != "" {
			b = appendText(b, m.key, m.value)
		}
	}
	b = appendInt(b, `,"status":`, int64(x.Status))
	b = appendTLS(b, x.TLS)
	b = append(b, `,"blame":"client"`...)
	return appendText(b, `,"reason":"`, x.Reason)
}
