package h1

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"nearcast/proxy/message"
	"nearcast/proxy/message/wire"
)

// refuseHead ends a connection on which no complete header section came, with an answer when err is one.
func (c *conn) refuseHead(err error) {
	if err != nil {
		c.refuse(&message.Request{}, err)
	}
}

// refuse answers a request that no handler may see, and ends the connection: where the next begins is in doubt. r holds what is known.
func (c *conn) refuse(r *message.Request, err error) {
	e := &message.Error{Status: http.StatusBadRequest, Reason: "malformed request"}
	errors.As(err, &e)
	x := message.Refusal{Protocol: message.HTTP1, ConnInfo: c.info, Reason: e.Reason,
		Method: strings.Clone(r.Method), Authority: strings.Clone(r.Authority)}
	if r.Target.Path != "" {
		x.Target = strings.Clone(r.Target.String())
	}
	sent := c.out.flush() == nil // what is before it
	if sent {
		c.out.grow(len(e.Reason) + 400)
		c.out.buf = appendRefusal(c.out.buf, e, r.Method == "HEAD")
		sent = c.out.flush() == nil
	}
	if sent {
		x.Status = e.Status
	}
	if c.srv.refuser != nil {
		c.srv.refuser.Refused(x)
	}
	if sent {
		c.linger(lingerRefused)
	}
}

func appendRefusal(b []byte, e *message.Error, head bool) []byte {
	b = wire.AppendStatusLine(b, e.Status)
	b = append(b, "date: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\ncontent-type: text/plain\r\nconnection: close\r\n"...)
	b = wire.AppendContentLength(b, int64(len(e.Reason)+1))
	b = append(b, "\r\n"...)
	if head {
		return b
	}
	return append(append(b, e.Reason...), '\n')
}
