package load

import (
	"bytes"
	"testing"
)

const (
	statText = "cpu  100 7 50 800 20 3 4 16 90 5\ncpu0 50 3 25 400 10 1 2 8 45 2\nintr 1 2 3\n"
	psiText  = "some avg10=12.50 avg60=2.00 avg300=0.10 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
	memText  = "MemTotal:        4000000 kB\nMemFree:          100000 kB\nMemAvailable:    2000000 kB\nBuffers: 1 kB\n"
)

func TestParsers(t *testing.T) {
	if got, err := parseStat([]byte(statText)); err != nil || got != (processorTime{busy: 100 + 50 + 3 + 4 + 16, total: 1000}) {
		t.Errorf("stat: %+v, %v: nice counts as idle, stolen time as busy, guests are in user already", got, err)
	}
	if got, err := parsePressure([]byte(psiText)); err != nil || got != 0.125 {
		t.Errorf("pressure: %v, %v", got, err)
	}
	if got, err := parseMeminfo([]byte(memText)); err != nil || got != 2000000<<10 {
		t.Errorf("meminfo: %v, %v", got, err)
	}
	if got, err := parseStatm([]byte("1000 300 200 10 0 500 0\n")); err != nil || got != 300 {
		t.Errorf("statm: %v, %v", got, err)
	}
	if got, err := parseQuota([]byte("150000 100000\n")); err != nil || got != 1.5 {
		t.Errorf("cpu.max: %v, %v", got, err)
	}
	if got, err := parseQuota([]byte("max 100000\n")); err != nil || got != 0 {
		t.Errorf("cpu.max without a limit: %v, %v", got, err)
	}
	if got, ok, err := parseBytes([]byte("1048576\n"), "f"); err != nil || !ok || got != 1<<20 {
		t.Errorf("memory.max: %v, %v, %v", got, ok, err)
	}
	if _, ok, err := parseBytes([]byte("max\n"), "f"); err != nil || ok {
		t.Errorf("memory.max without a limit: %v, %v", ok, err)
	}
	if got, err := parseKeyed([]byte("anon 5\nactive_file 10\nactive_file_x 7\ninactive_file 30\n"), "f", "active_file", "inactive_file"); err != nil || got != 40 {
		t.Errorf("memory.stat: %v, %v", got, err)
	}
}

// parsers take any of them for tables and fuzzing.
var parsers = map[string]func([]byte) error{
	"stat":     func(b []byte) error { _, err := parseStat(b); return err },
	"pressure": func(b []byte) error { _, err := parsePressure(b); return err },
	"meminfo":  func(b []byte) error { _, err := parseMeminfo(b); return err },
	"statm":    func(b []byte) error { _, err := parseStatm(b); return err },
	"quota":    func(b []byte) error { _, err := parseQuota(b); return err },
	"bytes":    func(b []byte) error { _, _, err := parseBytes(b, "f"); return err },
	"keyed":    func(b []byte) error { _, err := parseKeyed(b, "f", "usage_usec"); return err },
}

func TestWhatIsNotAsDocumentedIsAnError(t *testing.T) {
	for name, texts := range map[string][]string{
		"stat": {"", "cpu  1 2 3 4 5 6 7\n", "cpu  1 2 3 4 5 6 7 8", "cpu0 1 2 3 4 5 6 7 8\n", "cpu  -1 2 3 4 5 6 7 8\n",
			"cpu  18446744073709551615 1 1 1 1 1 1 1\n", "cpu  1 2 3 4 5 6 7 +8\n"},
		"pressure": {"", "some avg10=101.00 avg60=0 avg300=0 total=0\n", "some avg10=NaN avg60=0 avg300=0 total=0\n", "some avg10=-1 avg60=0 avg300=0 total=0\n",
			"full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", "some avg10=1.00", "some avg60=1.00 avg10=0 avg300=0 total=0\n"},
		"meminfo": {"", "MemTotal: 5 kB\n", "MemAvailable: 5\n", "MemAvailable: 5 MB\n", "MemAvailable: -5 kB\n", "MemAvailable: 18446744073709551615 kB\n", "MemAvailable: 5 kB"},
		"statm":   {"", "1 2 3\n", "1 x 3 4 5 6 7\n", "1 18446744073709551615 3 4 5 6 7\n"},
		"quota":   {"", "max\n", "0 100000\n", "100000 0\n", "-1 100000\n", "max 100000 5\n", "1e5 100000\n"},
		"bytes":   {"", "-1\n", "1 2\n", "18446744073709551615\n", "0x10\n"},
		"keyed":   {"", "usage_usec\n", "usage_usec x\n", "usage_usec 1\nusage_usec 2\n", "usage_usec 5", "usage 5\n", "usage_usec  5\n"},
	} {
		for _, text := range texts {
			if parsers[name](([]byte)(text)) == nil {
				t.Errorf("%s took %q", name, text)
			}
		}
	}
}

func FuzzParsers(f *testing.F) {
	for _, s := range []string{statText, psiText, memText, "1000 300 200 10 0 500 0\n", "150000 100000\n", "max 100000\n", "max\n", "123\n", "usage_usec 5\nuser_usec 1\n", "", "\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		for _, parse := range parsers {
			_ = parse(b)
		}
		if v, err := parsePressure(b); err == nil && !(v >= 0 && v <= 1) {
			t.Errorf("a pressure of %v", v)
		}
		if v, err := parseStat(b); err == nil && v.busy > v.total {
			t.Errorf("%+v", v)
		}
		if v, err := parseQuota(b); err == nil && !(v >= 0) {
			t.Errorf("a quota of %v", v)
		}
		if !bytes.Equal(before, b) {
			t.Error("the input was changed")
		}
	})
}
