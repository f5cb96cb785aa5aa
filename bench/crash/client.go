package crash

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// client asks for keys until its context ends. A request that is under way then is left to the kill.
func (l *loop) client(ctx context.Context, rnd *rand.Rand) {
	t := &http.Transport{DisableCompression: true}
	defer t.CloseIdleConnections()
	c := &http.Client{Transport: t, Timeout: 10 * time.Second}
	zipf := rand.NewZipf(rnd, 1.1, 1, uint64(l.o.Keys-1))
	for ctx.Err() == nil {
		l.ask(c, fmt.Sprintf("/k/%d", zipf.Uint64()), rnd.IntN(8) == 0)
	}
}

// ask makes one request, of the whole or of a part, and looks at the answer.
func (l *loop) ask(c *http.Client, path string, part bool) {
	req, err := http.NewRequest("GET", l.base+path, nil)
	if err != nil {
		l.found("%s: %v", path, err)
		return
	}
	if part {
		req.Header.Set("Range", "bytes=10-99")
	}
	res, err := c.Do(req)
	if err != nil {
		l.cut.Add(1) // no answer: nothing wrong was served
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		l.cut.Add(1)
		return
	}
	l.judge(path, res, body)
}

// judge checks an answer that looks complete.
func (l *loop) judge(path string, res *http.Response, body []byte) {
	version, err := strconv.ParseInt(res.Header.Get("X-Version"), 10, 64)
	if res.StatusCode >= 500 && err != nil { // the edge's own: it is dying, or the origin was slow
		l.cut.Add(1)
		return
	}
	if err != nil || res.StatusCode != 200 && res.StatusCode != 206 {
		l.found("%s: status %d, version %q", path, res.StatusCode, res.Header.Get("X-Version"))
		return
	}
	whole := Body(path, version, l.o.MaxBody)
	want := whole
	if res.StatusCode == 206 {
		want = whole[10:100]
	}
	born, known := l.origin.born(path, version)
	switch {
	case !known:
		l.found("%s: version %d never was", path, version)
	case res.Header.Get("Etag") != strconv.Quote(path+" "+strconv.FormatInt(version, 10)):
		l.found("%s: version %d with entity tag %s", path, version, res.Header.Get("Etag"))
	case string(body) != string(want):
		l.found("%s: version %d: %d bytes that begin %.60q, not %d that begin %.60q", path, version, len(body), body, len(want), want)
	}
	l.requests.Add(1)
	if strings.HasPrefix(res.Header.Get("Cache-Status"), "nearcast; hit") {
		l.hits.Add(1)
		if born < l.origin.life.Load() {
			l.warm.Add(1)
			l.noteWarm()
		}
	}
}

// found notes a wrong answer.
func (l *loop) found(format string, args ...any) {
	l.wrong.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault == "" {
		l.fault = fmt.Sprintf(format, args...)
	}
}

// noteWarm notes the first warm hit of a life.
func (l *loop) noteWarm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.warmed {
		l.warmed, l.first = true, max(l.first, time.Since(l.started))
	}
}
