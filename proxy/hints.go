package proxy

import (
	"net/http"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// hint sends the links of the page's last answer while its client waits for the next one (RFC 8297). An HTTP/1.1 client gets them when it is a
// browser that opens a page, as it says itself: others have been known to take a 103 for the answer.
func (p *Proxy) hint(x *exchange) {
	r := x.r
	switch {
	case !x.service.policy.EarlyHints, p.shedding.word.Load() != 0, // the page may not come
		r.Method != "GET", r.Fields.Has("authorization"),
		r.Protocol == message.HTTP1 && r.Fields.Get("sec-fetch-mode") != "navigate":
		return
	}
	if x.hinted = p.cache.Hints(x.key, r); x.hinted != nil {
		_ = x.w.WriteInformational(http.StatusEarlyHints, x.hinted)
	}
}

// inform passes 1xx responses on, of a 103 what the client has not been told already.
func (p *Proxy) inform(x *exchange) func(int, message.Fields) {
	return func(status int, f message.Fields) {
		if status == http.StatusEarlyHints && x.hinted != nil {
			if f = cache.HintsBut(f, x.hinted); len(f) == 0 {
				return
			}
		}
		_ = x.w.WriteInformational(status, f)
	}
}
