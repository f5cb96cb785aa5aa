package fleet

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// largest is a report of the longest texts and lists.
func largest() *Report {
	long := func(n int) string { return strings.Repeat("<", n) } // which JSON may escape
	name := strings.Repeat("x", 63)
	r := &Report{
		Version: version, Edge: name, Region: name, Software: long(maxSoftware), Instance: long(maxInstance), Sequence: 1<<64 - 1,
		Uptime: maxDuration, Age: maxDuration, Draining: false, Load: long(maxLoad),
	}
	for i := range maxPrefixes {
		p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x1d, 0xb8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, byte(i)}), 128)
		r.Prefixes = append(r.Prefixes, PrefixReport{p, LevelWithdrawn, long(maxReason), maxDuration})
		r.Intents = append(r.Intents, Intent{p, long(maxReason), maxDuration})
		r.Hears = append(r.Hears, name)
	}
	return r
}

func TestTheLargestReportFits(t *testing.T) {
	want := largest()
	b, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of %d", len(b), maxBody)
	got, err := decodeReport(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("a report changed on its way")
	}
	if _, err := decodeReport(append(b, make([]byte, maxBody)...)); err == nil {
		t.Error("a larger body is a report")
	}
}

func TestWhatIsPublishedIsAlwaysUnderstood(t *testing.T) {
	r := largest()
	for range 3 { // four times as many as there may be, and of the worst
		r.Prefixes = append(r.Prefixes, PrefixReport{v4, 99, "\"\\\n<é>" + strings.Repeat("\"", 1000), -1}, PrefixReport{}, PrefixReport{Prefix: netip.MustParsePrefix("192.0.2.1/24")})
		r.Prefixes = append(r.Prefixes, r.Prefixes...)
		r.Intents = append(r.Intents, Intent{v4, "\x00", 1<<63 - 1}, Intent{})
		r.Intents = append(r.Intents, r.Intents...)
	}
	r.Prefixes[0].Reason, r.Load = "\"quoted\"", "é"
	n := r.normal()
	n.Version, n.Edge, n.Region, n.Instance = version, "fra-1", "fra", "i"
	b, err := n.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeReport(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Prefixes) != maxPrefixes || len(got.Intents) != maxPrefixes || got.Prefixes[0].Reason != "?quoted?" || got.Load != "??" {
		t.Errorf("%d prefixes, %d intents, %q, %q", len(got.Prefixes), len(got.Intents), got.Prefixes[0].Reason, got.Load)
	}
	r.Prefixes[0].Level = LevelDraining
	if n.Prefixes[0].Level != LevelWithdrawn {
		t.Error("what is published is the caller's still")
	}
}

const valid = `{"version":1,"edge":"nyc-1","region":"nyc","instance":"i"}`

func TestWhatIsAReport(t *testing.T) {
	with := func(more string) string { return strings.TrimSuffix(valid, "}") + "," + more + "}" }
	for _, tt := range []struct {
		why, body string
		ok        bool
	}{
		{"the least", valid, true},
		{"white space around it", "\n " + valid + "\n", true},
		{"a newer edge has more to say", strings.Replace(with(`"weather":{"sun":[1]}`), `"version":1`, `"version":7`, 1), true},
		{"a newer level", with(`"prefixes":[{"prefix":"192.0.2.0/24","level":"hovering","reason":"","for_ns":1}]`), true},
		{"nothing of a list", with(`"prefixes":null,"hears":null`), true},

		{"nothing", "", false},
		{"null", "null", false},
		{"a list", "[]", false},
		{"two reports", valid + valid, false},
		{"half a report", valid[:30], false},
		{"no version", strings.Replace(valid, `"version":1,`, "", 1), false},
		{"version 0", strings.Replace(valid, `"version":1`, `"version":0`, 1), false},
		{"a version below all", strings.Replace(valid, `"version":1`, `"version":-1`, 1), false},
		{"no edge", strings.Replace(valid, `"nyc-1"`, `""`, 1), false},
		{"a name that would break a log line", strings.Replace(valid, `"nyc-1"`, `"a\nb"`, 1), false},
		{"no region", strings.Replace(valid, `"nyc",`, `"",`, 1), false},
		{"no instance", strings.Replace(valid, `"i"`, `""`, 1), false},
		{"a control character", with(`"load":"\u001b[2J"`), false},
		{"a reason without end", with(`"prefixes":[{"prefix":"192.0.2.0/24","level":"full","reason":"` + strings.Repeat("x", 65) + `"}]`), false},
		{"a time below zero", with(`"uptime_ns":-1`), false},
		{"a time that overflows later", with(`"age_ns":9223372036854775807`), false},
		{"a number too large for any time", with(`"age_ns":92233720368547758070`), false},
		{"a prefix with host bits", with(`"prefixes":[{"prefix":"192.0.2.1/24","level":"full"}]`), false},
		{"a prefix in another form", with(`"prefixes":[{"prefix":"::ffff:192.0.2.0/120","level":"full"}]`), false},
		{"no prefix", with(`"prefixes":[{"level":"full"}]`), false},
		{"an intent without prefix", with(`"intents":[{}]`), false},
		{"an intent that lasts less than nothing", with(`"intents":[{"prefix":"192.0.2.0/24","for_ns":-5}]`), false},
		{"it hears nobody's name", with(`"hears":["a b"]`), false},
		{"more names than edges", with(`"hears":["a"` + strings.Repeat(`,"a"`, MaxEdges) + `]`), false},
		{"nested without end", with(`"x":` + strings.Repeat("[", 50000)), false},
	} {
		r, err := decodeReport([]byte(tt.body))
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.why, err)
		}
		if err != nil && r != nil && r.check() == nil {
			t.Errorf("%s: an error with a report that is in order", tt.why)
		}
	}
	if _, err := decodeReport([]byte(`{"version":0}`)); !errors.Is(err, errOldVersion) {
		t.Errorf("an old version is told as %v", err)
	}
	r, _ := decodeReport([]byte(with(`"prefixes":[{"prefix":"192.0.2.0/24","level":"hovering"}]`)))
	if r.Level(v4) != LevelUnknown {
		t.Error("a level that is not known here is one")
	}
}

func TestLevelsAreOrderedAndNamed(t *testing.T) {
	if !(LevelUnknown < LevelWithdrawn && LevelWithdrawn < LevelDraining && LevelDraining < LevelDegraded && LevelDegraded < LevelFull) {
		t.Error("the order of the levels")
	}
	for l := LevelUnknown; l <= LevelFull; l++ {
		b, err := json.Marshal(l)
		var back Level
		if err != nil || json.Unmarshal(b, &back) != nil || back != l {
			t.Errorf("%s becomes %s", b, back)
		}
	}
}

func TestAgeingChangesTheCopyAlone(t *testing.T) {
	r := &Report{Prefixes: []PrefixReport{{Prefix: v4, For: time.Second}}, Intents: []Intent{{Prefix: v4}}}
	a := r.aged(time.Minute)
	if a.Prefixes[0].For != 61*time.Second || a.Intents[0].For != time.Minute || a.Age != time.Minute || r.Prefixes[0].For != time.Second || r.Intents[0].For != 0 {
		t.Errorf("%+v, %+v", a, r)
	}
	if r.aged(-time.Second).Age != 0 {
		t.Error("a report from the future")
	}
}

func FuzzDecodeReport(f *testing.F) {
	r := largest()
	r.Prefixes, r.Intents, r.Hears = r.Prefixes[:2], r.Intents[:1], r.Hears[:3] // the whole of it is too large to mutate quickly
	b, err := r.encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{valid, string(b), `{"version":1,"prefixes":[{"prefix":"::/0"}]}`, "null", "{", `{"edge":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeReport(body)
		if err != nil {
			return
		}
		if err := r.check(); err != nil {
			t.Fatal(err)
		}
		again, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > maxBody {
			t.Fatalf("%d bytes once encoded", len(again))
		}
		if back, err := decodeReport(again); err != nil || !back.saysAs(r) {
			t.Fatalf("%v: %+v, %+v", err, back, r)
		}
	})
}
