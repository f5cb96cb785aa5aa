package h3

import (
	"io"

	"nearcast/proxy/h3/qpack"
	"nearcast/proxy/message"
	"nearcast/proxy/message/assemble"
)

// read reads the request's header section, and finds out whether there is content.
func (x *exchange) read() error {
	section, err := x.section()
	if err != nil {
		return err
	}
	x.arena, err = qpack.Decode(x.arena, section, &x.asm)
	switch {
	case err == qpack.ErrDecompression:
		return errDecompression
	case err != nil:
		return err
	}
	r := &x.req
	if err := x.asm.Finish(r); err != nil {
		return err
	}
	info := &x.conn.info
	r.Protocol, r.Client, r.Local, r.TLS = message.HTTP3, info.Client, info.Local, info.TLS
	if x.conn.early() {
		r.TLS = &x.conn.earlyTLS
	}
	if v := r.Fields.Get("priority"); v != "" && !x.preset {
		x.prioritise(parsePriority(v))
	}
	if r.Upgrade != "" {
		r.ContentLength = 0
		return nil
	}
	return x.content()
}

// section reads up to the end of the HEADERS frame.
func (x *exchange) section() ([]byte, error) {
	for {
		typ, n, err := x.r.next()
		switch {
		case err == io.EOF:
			return nil, errIncomplete
		case err != nil:
			return nil, x.late(err)
		case typ == frameHeaders:
			if n > uint64(x.conn.server.cfg.MaxHeader) {
				return nil, x.asm.TooLarge()
			}
			p, err := x.r.payload(int(n))
			return p, x.late(err)
		case typ == frameData:
			return nil, errUnexpected
		}
		if err := onRequestStream(typ); err != nil {
			return nil, err
		}
		if err := x.r.skip(n); err != nil {
			return nil, x.late(err)
		}
	}
}

// late tells a client that was too slow from one that has gone.
func (x *exchange) late(err error) error {
	if isTimeout(err) {
		return errHeaderTimeout
	}
	return err
}

// content finds out whether the request has a body. Only the end of the stream tells, where no length was declared; it almost always
// comes with the header section. For methods that rarely have content it is waited for, as such a request with content passes by the
// cache.
func (x *exchange) content() error {
	r := &x.req
	switch {
	case r.ContentLength == 0:
		return nil // what comes all the same is never read
	case x.r.eof && x.r.r == x.r.w:
		return assemble.NoContent(r)
	case r.ContentLength < 0 && !x.asm.ExpectsContinue() && (r.Method == "GET" || r.Method == "HEAD" || r.Method == "OPTIONS" || r.Method == "DELETE"):
		ended, err := x.ends()
		if err != nil {
			return x.late(err)
		}
		if ended {
			return assemble.NoContent(r)
		}
	}
	b := &body{str: x.str, x: x, content: assemble.NewContent(r.ContentLength), expect: x.asm.ExpectsContinue()}
	x.body, r.Body, r.Trailers = b, b, b.trailers
	return nil
}

// ends reports whether the stream ends here, or goes on with DATA or trailers.
func (x *exchange) ends() (bool, error) {
	for {
		typ, n, err := x.r.next()
		switch {
		case err == io.EOF:
			return true, nil
		case err != nil:
			return false, err
		case typ == frameHeaders, typ == frameData && n > 0:
			x.r.unread(typ, n)
			return false, nil
		case typ != frameData:
			if err := onRequestStream(typ); err != nil {
				return false, err
			}
		}
		if err := x.r.skip(n); err != nil {
			return false, err
		}
	}
}

func (x *exchange) prioritise(p priority) { x.str.SetPriority(p.urgency, p.incremental) }
