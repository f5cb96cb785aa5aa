package proxy

import (
	"context"
	"net/http"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// wantsSlices reports whether the exchange, which the cache can't answer as a whole, is one for slices, and where its answer begins.
func (p *Proxy) wantsSlices(x *exchange, now time.Time) (at int64, ok bool) {
	policy := x.service.policy
	if policy.Slice == 0 || p.cache.TooLarge(int64(policy.Slice)) || x.r.Method != "GET" {
		return 0, false
	}
	ranged := x.result.State == cache.Part && len(x.result.Part.Pieces) == 0
	if !ranged && (x.result.State != cache.Miss || x.r.Fields.Has("range")) || p.cache.Unsliceable(now, x.key, x.r) {
		return 0, false
	}
	head, _ := p.cache.SliceHead(now, x.key, x.r, policy)
	if ranged {
		return cache.FirstByte(x.r, head)
	}
	return 0, head != nil && p.cache.TooLarge(head.Length)
}

// sliced answers in slices. done is false, and nothing has been sent, when the request is to be answered in another way after all.
func (p *Proxy) sliced(x *exchange) (done bool, err error) {
	now := time.Now()
	if x.result.State == cache.Part {
		if head, fresh := p.cache.SliceHead(now, x.key, x.r, x.service.policy); fresh {
			if _, status := cache.ParseRange(x.r, head); status == http.StatusRequestedRangeNotSatisfiable {
				x.result.Object, x.result.TTL = head, head.TTL(now)
				return true, p.respondObject(x, head)
			}
		}
	}
	for range 2 { // a second time when the first slice shows that the answer begins elsewhere
		at, ok := p.wantsSlices(x, now)
		if !ok {
			return false, nil
		}
		if err := x.settleFirst(); err != nil {
			return true, err
		}
		s := &slicer{p: p, x: x, size: int64(x.service.policy.Slice)}
		first, err := s.get(at / s.size)
		if err != nil || first == nil {
			return err != nil, err
		}
		if done, err = s.answer(first, at/s.size); done || err != nil {
			return true, err
		}
	}
	return false, nil
}

// slicer answers one exchange in slices.
type slicer struct {
	p       *Proxy
	x       *exchange
	size    int64
	fetched bool // something came from an origin
}

// get returns a slice, which may still be arriving. It is nil, without an error, when the resource can't be had in slices.
func (s *slicer) get(n int64) (*cache.Object, error) {
	for range maxJoins {
		o, b := s.begin(n)
		if o != nil {
			return o, nil
		}
		s.fetched = true
		o, reason, err := b.fill.Wait(s.x.ctx, s.x.r)
		if err == nil || reason == cache.ReasonFailed { // it is decided
			s.learn(b.bg)
		}
		switch {
		case err != nil && s.x.ctx.Err() == nil && leadersOwn(err), reason == cache.ReasonOtherVariant:
			continue
		case err != nil:
			return s.orStale(b.stored, err)
		case o != nil || reason != cache.ReasonNone:
			return o, nil
		}
	}
	return nil, nil
}

// begun is a slice that is being fetched.
type begun struct {
	fill   *cache.Fill
	stored cache.Result // what there is of it, and must be validated
	bg     *exchange    // the fetch's own; nil when another request leads it
}

// learn takes over what a fetch came upon.
func (s *slicer) learn(bg *exchange) {
	if bg != nil {
		s.x.origin, s.x.place, s.x.located = bg.origin, bg.place, bg.located
		s.x.attempts += bg.attempts
	}
}

// orStale is Proxy.orStale for a slice.
func (s *slicer) orStale(stored cache.Result, err error) (*cache.Object, error) {
	e := asError(err)
	if !s.x.takesStale(&stored, e, cache.Outcome{Forwarded: true, Status: e.Status}) {
		return nil, err
	}
	return stored.Object, nil
}

// begin returns a slice that may serve, or a fetch of it.
func (s *slicer) begin(n int64) (*cache.Object, begun) {
	p, x, now := s.p, s.x, time.Now()
	stored := p.cache.Slice(now, x.key, x.r, n, x.service.policy)
	if stored.State == cache.Hit {
		return stored.Object, begun{}
	}
	f, leader := p.cache.BeginSlice(now, x.key, x.service.policy.Asked(x.r), n, s.size)
	if !leader {
		return nil, begun{fill: f, stored: stored}
	}
	if again := p.cache.Slice(now, x.key, x.r, n, x.service.policy); again.State == cache.Hit { // it has come since
		f.Fail(errLeaderGone)
		return again.Object, begun{}
	}
	if e := s.refusal(&stored); e != nil {
		f.Fail(e) // and so those who wait for it, this exchange among them
		return nil, begun{fill: f, stored: stored}
	}
	ctx, cancel := p.detach(x.ctx)
	bg := x.behind(ctx)
	p.background(func() {
		defer cancel()
		defer f.Fail(errLeaderGone)
		if err := p.fetchSlice(ctx, bg, f, stored); err != nil {
			f.Fail(err)
		}
	})
	return nil, begun{f, stored, bg}
}

// refusal is refusedFill for a slice. An answer that has begun goes on.
func (s *slicer) refusal(stored *cache.Result) *message.Error {
	switch {
	case s.x.status != 0:
		return nil
	case stored.ServeStaleOnDisconnect:
		return s.p.refusal(s.x, workStale)
	}
	return s.p.refusal(s.x, workFill)
}

// fetchSlice fetches a slice, or validates the stored one.
func (p *Proxy) fetchSlice(ctx context.Context, x *exchange, f *cache.Fill, stored cache.Result) error {
	fields := message.Fields{{Name: "range", Value: f.Ask()}}
	if stored.Object != nil {
		fields = append(fields, cache.Conditions(stored.Object)...)
	}
	requested := time.Now()
	res, err := p.forward(ctx, x, wholeFields(x.r.Fields, fields), nil)
	if err != nil {
		return err
	}
	head := p.headOf(res, requested)
	switch {
	case stored.Object != nil && res.Status == http.StatusNotModified:
		res.Body.Close()
		f.NotModified(x.r, head, stored.Object, x.service.policy)
		return nil
	case stored.ServeStaleOnError && staleOnStatus(res.Status):
		res.Body.Close()
		return &message.Error{Blame: message.BlameOrigin, Status: res.Status, Reason: "origin answered an error"}
	}
	w, _ := f.RespondSlice(x.r, head, x.service.policy)
	if w == nil {
		return res.Body.Close()
	}
	pump(w, res)
	return nil
}

// answer answers with what begins in the slice first, the n-th. done is false when first shows that it begins elsewhere, or is no matter of slices.
func (s *slicer) answer(first *cache.Object, n int64) (done bool, err error) {
	p, x := s.p, s.x
	if cache.EvaluateConditional(x.r, first) == http.StatusNotModified {
		s.note(first, n, n+1)
		return true, p.respondObject(x, first)
	}
	rg, status := cache.Range{Start: 0, End: first.Length}, http.StatusOK
	if x.result.State == cache.Part {
		switch asked, want := cache.ParseRange(x.r, first); want {
		case http.StatusPartialContent:
			rg, status = asked, want
		case http.StatusRequestedRangeNotSatisfiable:
			s.note(first, n, n+1)
			return true, p.respondObject(x, first)
		}
	}
	if rg.Start/s.size != n || status == http.StatusOK && !p.cache.TooLarge(first.Length) {
		return false, nil
	}
	r, err := s.open(first, n, rg)
	if err != nil {
		return false, nil // it has begun to pass through, for want of memory
	}
	s.note(first, n, (rg.End-1)/s.size+1)
	a := p.planned(x, first, rg, status)
	a.reader = r
	if err := p.writeHeader(x, a.status, a.fields, a.length); err != nil {
		r.Close()
		return true, err
	}
	return true, s.stream(a, n, rg)
}

// stream sends the slices, fetching one ahead.
func (s *slicer) stream(a *answer, n int64, rg cache.Range) error {
	version := a.object.Head()
	for {
		more := (n+1)*s.size < rg.End
		if more {
			s.begin(n + 1)
		}
		err := s.p.copyObject(s.x, a)
		a.reader.Close()
		if err != nil && s.x.ctx.Err() == nil && asError(err).Blame != message.BlameClient {
			s.x.incomplete = false // so far: it goes on where the slice broke off
			return s.rest(version, cache.Range{Start: rg.Start + s.x.sent, End: rg.End})
		}
		if err != nil || !more {
			return err
		}
		n++
		if a.object, a.reader, err = s.next(version, n, rg); err != nil {
			return err
		}
		if a.reader == nil {
			return s.rest(version, cache.Range{Start: n * s.size, End: rg.End})
		}
	}
}

var errChanged = &message.Error{Blame: message.BlameOrigin, Status: http.StatusBadGateway, Reason: "response changed between slices"}

// next opens the slice that follows, which must be of the same version. There is no reader, nor an error, when it can't be had as a slice any more.
func (s *slicer) next(version *cache.Object, n int64, rg cache.Range) (*cache.Object, *cache.Reader, error) {
	for range maxJoins {
		o, err := s.get(n)
		if err != nil {
			return nil, nil, err
		}
		if o == nil {
			break
		}
		if !o.SameVersion(version) {
			return nil, nil, errChanged
		}
		r, err := s.open(o, n, rg)
		if err == nil {
			return o, r, nil
		}
	}
	return nil, nil, nil
}

// rest passes on what is still to be sent, without storing it: a slice broke off, there was no memory for more, or the origin would not have it
// stored any more.
func (s *slicer) rest(version *cache.Object, rg cache.Range) error {
	p, x := s.p, s.x
	res, err := p.forward(x.ctx, x, wholeFields(x.r.Fields, version.Conditional(rg)), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if !version.Continues(&cache.Response{Status: res.Status, Fields: res.Fields, Received: time.Now()}, rg) {
		return errChanged
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for left := rg.End - rg.Start; left > 0; {
		n, err := res.Body.Read((*buf)[:min(int64(len(*buf)), left)])
		if n > 0 {
			if werr := p.write(x, (*buf)[:n]); werr != nil {
				return werr
			}
		}
		if left -= int64(n); err != nil && left > 0 {
			x.incomplete = true
			return err
		}
	}
	return nil
}

// open makes a reader of what of rg lies in the n-th slice.
func (s *slicer) open(o *cache.Object, n int64, rg cache.Range) (*cache.Reader, error) {
	return o.NewReader(s.x.ctx, cache.Range{Start: max(rg.Start, n*s.size), End: min(rg.End, (n+1)*s.size)})
}

// maxNoted bounds the slices that are looked up for Cache-Status.
const maxNoted = 64

// note says for the log and Cache-Status what of the slices from n up to end comes from the store.
func (s *slicer) note(first *cache.Object, n, end int64) {
	x, now := s.x, time.Now()
	if x.stale {
		x.result.State, x.result.Object, x.result.TTL, x.result.Part = cache.Stale, first.Head(), first.TTL(now), nil
		return
	}
	stored, missing := !s.fetched, s.fetched
	for i := n + 1; i < min(end, n+maxNoted); i++ {
		fresh := s.p.cache.Slice(now, x.key, x.r, i, x.service.policy).State == cache.Hit
		stored, missing = stored || fresh, missing || !fresh
	}
	x.result.State, x.result.Part = cache.Part, &cache.Plan{}
	if !missing {
		x.result.Object, x.result.TTL = first.Head(), first.TTL(now)
		return
	}
	x.outcome = cache.Outcome{Forwarded: true, Status: http.StatusPartialContent, Stored: true}
	if x.result.Object = nil; stored {
		x.result.Part.Pieces = []cache.Piece{{}}
	}
}

// storedSlices answers from slices alone a request that must not go to an origin (RFC 9111 §5.2.1.7). done is false when some are missing.
func (p *Proxy) storedSlices(x *exchange) (done bool, err error) {
	now, s := time.Now(), &slicer{p: p, x: x, size: int64(x.service.policy.Slice)}
	if s.size == 0 || x.r.Method != "GET" {
		return false, nil
	}
	head, fresh := p.cache.SliceHead(now, x.key, x.r, x.service.policy)
	if !fresh {
		return false, nil
	}
	rg, status := cache.ParseRange(x.r, head)
	if status == http.StatusOK {
		rg = cache.Range{Start: 0, End: head.Length}
	}
	first, last := rg.Start/s.size, (rg.End-1)/s.size
	if rg == cache.Several || last-first >= maxNoted {
		return false, nil
	}
	found := x.result
	defer func() {
		if !done {
			x.result = found
		}
	}()
	x.result = cache.Result{State: cache.Hit, Object: head, TTL: head.TTL(now)}
	if status == http.StatusRequestedRangeNotSatisfiable || cache.EvaluateConditional(x.r, head) != 0 {
		return true, p.respondObject(x, head)
	}
	defer x.letGo()
	for n := first; n <= last; n++ {
		o := p.cache.Slice(now, x.key, x.r, n, x.service.policy)
		if o.State != cache.Hit || !o.Object.SameVersion(head) {
			return false, nil
		}
		r, err := s.open(o.Object, n, rg)
		if err != nil {
			return false, nil
		}
		x.held = append(x.held, r)
	}
	a := p.planned(x, head, rg, status)
	a.reader, a.pieces, x.held = x.held[0], x.held[1:], nil
	return true, p.send(x, a)
}
