package cache

import (
	"strings"
	"testing"
	"time"
)

func TestRFC9211_2_7_KeyAndTTL(t *testing.T) {
	p := &Policy{Key: KeyRules{Headers: []string{"x-tier"}, Query: QueryRules{Mode: QueryDeny, Names: []string{"utm_*"}}}}
	key := p.KeyOf("shop", get("/a?utm_x=1&b=%22", `X-Tier: "g\ld" `+"\xfc"), nil)
	hit := Result{State: Hit, Reason: ReasonFresh, Object: &Object{}, TTL: 30 * time.Second}
	stored := Outcome{Forwarded: true, Status: 200, Stored: true, Reason: ReasonStored, TTL: 59500 * time.Millisecond}
	const text = `; key="https://shop.example.com/a?b=%22 x-tier=\"g\\ld\" %FC"`
	for _, tt := range []struct {
		why  string
		mode StatusMode
		key  Key
		res  Result
		out  Outcome
		want string
	}{
		{"on", StatusOn, key, hit, Outcome{}, "nearcast; hit; ttl=30"},
		{"a hit", StatusFull, key, hit, Outcome{}, "nearcast; hit; ttl=30" + text},
		{"stored", StatusFull, key, Result{Reason: ReasonNotStored}, stored, "nearcast; fwd=uri-miss; fwd-status=200; stored; ttl=59" + text},
		{"not stored", StatusFull, key, Result{Reason: ReasonNotStored}, Outcome{Forwarded: true, Status: 200, Reason: ReasonPrivate}, `nearcast; fwd=uri-miss; fwd-status=200; detail="private"` + text},
		{"never asked", StatusFull, Key{}, Result{State: Bypass, Reason: ReasonDisabled}, Outcome{Forwarded: true, Status: 200}, `nearcast; fwd=bypass; fwd-status=200; detail="disabled"`},
		{"long", StatusFull, KeyOf("shop", get("/"+strings.Repeat("a", 600))), hit, Outcome{}, `nearcast; hit; ttl=30; key="https://shop.example.com/` + strings.Repeat("a", 487) + `..."`},
	} {
		got := string(tt.mode.Append(nil, &tt.key, tt.res, tt.out))
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.why, got, tt.want)
		}
		if _, ok := parseDictionary("x=" + strings.ReplaceAll(got, "; ", ";")); !ok {
			t.Errorf("%s: %s is no structured field", tt.why, got)
		}
	}
}

func TestStatusMode(t *testing.T) {
	for text, want := range map[string]StatusMode{"on": StatusOn, "true": StatusOn, "off": StatusOff, "false": StatusOff, "full": StatusFull} {
		var m StatusMode = 9
		if err := m.UnmarshalText([]byte(text)); err != nil || m != want {
			t.Errorf("%s: %v, %v", text, m, err)
		}
	}
	var m StatusMode
	if m.UnmarshalText([]byte("yes")) == nil || StatusFull.String() != "full" || StatusOff.String() != "off" {
		t.Error("yes is no mode")
	}
}

func FuzzStatusKeyIsAString(f *testing.F) {
	f.Add("/a", "b=1", "\x00x=\xff\"\\")
	f.Fuzz(func(t *testing.T, path, query, selected string) {
		k := Key{scheme: "https", authority: "h", path: path, query: query + "\x00" + selected, hasQuery: true, selected: true}
		s := `x="` + string(k.appendStatus(nil)) + `"`
		if _, ok := parseDictionary(s); !ok || len(s) > 4*maxStatusKey {
			t.Errorf("%q", s)
		}
	})
}
