package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"nearcast/cache"
)

func withKey(rules cache.KeyRules) func(*Options, *ServiceConfig) {
	return func(_ *Options, s *ServiceConfig) { s.Cache.Key = rules }
}

var typicalRules = cache.KeyRules{Query: cache.QueryRules{Mode: cache.QueryDeny, Names: []string{"utm_*", "fbclid", "gclid"}}}

func TestAHitUnderKeyRulesAllocatesNothing(t *testing.T) {
	all := typicalRules
	all.Query.Sort, all.Headers, all.Cookies, all.Device = true, []string{"accept-language"}, []string{"currency"}, true
	for what, rules := range map[string]cache.KeyRules{"deny list": typicalRules, "everything": all} {
		e := newShelf(t, withKey(rules))
		e.get("/etag?b=2&a=1", "accept-language", "en", "cookie", "currency=EUR", "user-agent", "Mobile")
		e.settle()
		r := request("GET", "/etag?a=1&utm_source=mail&b=2", "accept-language", "en", "cookie", "id=7; currency=EUR", "user-agent", "Mobile")
		if !rules.Query.Sort {
			r = request("GET", "/etag?b=2&a=1&utm_source=mail&fbclid=1", "user-agent", "Mobile")
		}
		hit := func() {
			a := e.Quick(r)
			if a == nil {
				t.Fatal(what, "is not ready")
			}
			a.Body.Next()
			a.Done(a.BodyLength, true)
		}
		hit()
		if n := testing.AllocsPerRun(500, hit); n != 0 && !raced {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

// TestAKeyOutlivesTheQuickThatMadeIt: the buffer of a key that Serve goes on with is not used for other requests.
func TestAKeyOutlivesTheQuickThatMadeIt(t *testing.T) {
	e := newShelf(t, withKey(typicalRules))
	r := request("GET", "/a?fresh=1&utm_source=x")
	if e.Quick(r) != nil {
		t.Fatal("it is stored nowhere")
	}
	x := r.State.(*quick).found
	e.serve(r)
	for range 8 {
		if a := e.Quick(request("GET", "/a?other=99999&utm_source=x")); a != nil {
			a.Done(a.BodyLength, true)
		}
	}
	if got := x.key.String(); got != "https://shop.example/a?fresh=1" {
		t.Errorf("the key has become %s", got)
	}
	e.settle()
	if a := e.Quick(request("GET", "/a?fresh=1")); a == nil {
		t.Error("it is not stored under its key")
	} else {
		a.Done(a.BodyLength, true)
	}
}

func TestTheOriginIsToldTheDeviceClassThatIsInTheKey(t *testing.T) {
	const phone = "Mozilla/5.0 (Linux; Android 10; K) Chrome/140.0.0.0 Mobile Safari/537.36"
	tell := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, strings.Join(append(r.Header["X-Device-Class"], r.Header["X_device_class"]...), ",")+" "+r.URL.RawQuery)
	}
	e := newEdge(t, map[string][]string{"fra": {originServer(t, tell)}}, withKey(cache.KeyRules{Device: true, Query: cache.QueryRules{Mode: cache.QueryNone}}))
	for _, c := range []struct{ ua, target, want string }{
		{phone, "/?a=1", "mobile a=1"}, // the origin gets the whole query
		{"curl/8", "/?a=2", "desktop a=2"},
		{phone, "/?a=3", "mobile a=1"},
		{"curl/8", "/", "desktop a=2"},
	} {
		if got := e.get(c.target, "user-agent", c.ua, "x-device-class", "evil", "x_device-class", "evil").body.String(); got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.target, c.ua, got, c.want)
		}
		e.settle()
	}
	plain := newEdge(t, map[string][]string{"fra": {originServer(t, tell)}}, nil)
	if got := plain.get("/", "user-agent", phone, "x-device-class", "own").body.String(); got != "own " {
		t.Errorf("without the rule the field is the client's own: %q", got)
	}
}

// TestAClientsOwnDeviceClassCountsForNothing: neither for the origin, whatever the cache is, nor for the variant that it gets.
func TestAClientsOwnDeviceClassCountsForNothing(t *testing.T) {
	url, n := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "X-Device-Class")
		w.Header().Set("X-Seen", strings.Join(append(r.Header["X-Device-Class"], r.Header["X_device_class"]...), ","))
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, withKey(cache.KeyRules{Device: true}))
	e.get("/", "x-device-class", "evil")
	e.settle()
	for _, field := range []string{"x-device-class", "x_device-class", "x-other"} {
		if got := e.get("/", field, "other"); got.fields.Get("x-seen") != "desktop" || n.Load() != 1 {
			t.Errorf("%s: %q, asked %d times", field, got.fields.Get("x-seen"), n.Load())
		}
	}
	off := newEdge(t, map[string][]string{"fra": {url}}, func(_ *Options, s *ServiceConfig) { s.Cache.Key.Device, s.Cache.Enabled = true, false })
	if got := off.get("/", "x-device-class", "evil").fields.Get("x-seen"); got != "desktop" {
		t.Errorf("with the cache switched off: %q", got)
	}
}

func TestAnUnsafeRequestInvalidatesUnderTheKeyRules(t *testing.T) {
	url, n := counting(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Cache-Control", "max-age=60") })
	e := newEdge(t, map[string][]string{"fra": {url}}, withKey(cache.KeyRules{IgnoreScheme: true, Device: true, Query: typicalRules.Query}))
	e.get("/a?utm_x=1")
	e.get("/a", "user-agent", "Mobile")
	e.settle()
	r := request("POST", "/a?utm_x=2")
	r.Scheme = "http"
	e.serve(r)
	before := n.Load()
	e.get("/a")
	e.get("/a", "user-agent", "Mobile")
	if got := n.Load() - before; got != 2 {
		t.Errorf("%d of 2 were fetched again", got)
	}
}
