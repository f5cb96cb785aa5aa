package proxy

import (
	"io"
	"time"

	"nearcast/cache"
	"nearcast/proxy/upstream"
)

// keepPosted has an answer to POST stored on its way to the client, where it is one that a later GET may get. The client's pace is the
// body's: what a slow one holds is bounded like every body that arrives, and counted in the budget.
func (p *Proxy) keepPosted(x *exchange, res *upstream.Response, requested time.Time) {
	if x.r.Method != "POST" || changesMeaning(x.r.Fields) {
		return
	}
	if w := p.cache.Posted(x.service.name, x.r, p.headOf(res, requested), x.service.policy); w != nil {
		x.outcome.Stored = true
		res.Body = &keptBody{res.Body, res, w}
	}
}

// keptBody is a body that is stored as it is read.
type keptBody struct {
	io.ReadCloser
	res *upstream.Response
	w   *cache.Writer
}

func (b *keptBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		if _, werr := b.w.Write(p[:n]); werr != nil {
			b.w.Abort(werr) // too large, or not as long as it said; harmless when it has ended
		}
	}
	switch {
	case err == io.EOF:
		b.w.Commit(b.res.Trailers())
	case err != nil:
		b.w.Abort(err)
	}
	return n, err
}

// Buffered tells what the body itself knows of what has come already.
func (b *keptBody) Buffered() bool {
	of, ok := b.ReadCloser.(interface{ Buffered() bool })
	return ok && of.Buffered()
}

// Close gives up what has not come to its end.
func (b *keptBody) Close() error {
	b.w.Abort(nil)
	return b.ReadCloser.Close()
}
