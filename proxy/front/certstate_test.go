package front

import (
	"slices"
	"testing"
	"time"
)

func TestCertificatesTellTheirEndAndTheirNames(t *testing.T) {
	dir, now := t.TempDir(), time.Now().Truncate(time.Second)
	first := writePair(t, dir, "first", now.Add(48*time.Hour), "example.test", "*.example.test")
	second := writePair(t, dir, "second", now.Add(24*time.Hour), "example.org")
	f, err := Open([]ListenConfig{{Address: "127.0.0.1:0", TLS: true}}, TLSConfig{Certificates: []CertificateConfig{first, second}}, testLimits(), testLog(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.closeSockets()
	states := f.Certificates()
	if len(states) != 2 || states[0].File != first.CertFile || !slices.Equal(states[0].Names, []string{"example.test", "*.example.test"}) ||
		!states[0].NotAfter.Equal(now.Add(48*time.Hour)) || !states[1].NotAfter.Equal(now.Add(24*time.Hour)) || states[0].Fault != "" {
		t.Fatalf("%+v", states)
	}
	for _, tt := range []struct {
		why             string
		at              time.Duration
		within          time.Duration
		expired, expire bool
	}{
		{"long before", 0, time.Hour, false, false},
		{"within the time", 24 * time.Hour, 25 * time.Hour, false, true},
		{"in its last moment", 48 * time.Hour, 0, false, false},
		{"after it", 48*time.Hour + time.Second, 0, true, true},
	} {
		c := &states[0]
		if c.Expired(now.Add(tt.at)) != tt.expired || c.ExpiresWithin(now.Add(tt.at), tt.within) != tt.expire {
			t.Errorf("%s: expired %v, expires %v", tt.why, c.Expired(now.Add(tt.at)), c.ExpiresWithin(now.Add(tt.at), tt.within))
		}
	}

	writeFile(t, second.CertFile, []byte("no certificate"))
	f.certs.look(now)
	if c := f.Certificates()[1]; c.Fault == "" || !c.NotAfter.Equal(now.Add(24*time.Hour)) {
		t.Errorf("what is served is still the old one: %+v", c)
	}
	writePair(t, dir, "second", now.Add(720*time.Hour), "example.net")
	f.certs.look(now)
	if c := f.Certificates()[1]; c.Fault != "" || !c.NotAfter.Equal(now.Add(720*time.Hour)) || !slices.Equal(c.Names, []string{"example.net"}) {
		t.Errorf("renewed: %+v", c)
	}
	if !states[1].NotAfter.Equal(now.Add(24 * time.Hour)) {
		t.Error("what was told before has changed")
	}
}

func TestWithoutTLSThereAreNoCertificates(t *testing.T) {
	f, err := Open([]ListenConfig{{Address: "127.0.0.1:0"}}, TLSConfig{}, testLimits(), testLog(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.closeSockets()
	if c := f.Certificates(); len(c) != 0 {
		t.Errorf("%+v", c)
	}
}
