package front

import (
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"
)

func reported(v interface{ Validate(func(key, fault string)) }) (keys []string) {
	v.Validate(func(key, fault string) { keys = append(keys, key) })
	return keys
}

func TestListenValidate(t *testing.T) {
	yes, no := true, false
	hour, short, long := time.Hour, 1500*time.Millisecond, 20*365*24*time.Hour
	tests := []struct {
		why  string
		c    ListenConfig
		want []string
	}{
		{"plain", ListenConfig{Address: ":80"}, nil},
		{"TLS", ListenConfig{Address: "[2001:db8::1]:443", TLS: true}, nil},
		{"TLS without HTTP/3", ListenConfig{Address: "192.0.2.1:443", TLS: true, HTTP3: &no}, nil},
		{"a zone", ListenConfig{Address: "[fe80::1%eth0]:443"}, nil},
		{"HTTP/3 switched off where it could not be", ListenConfig{Address: ":80", HTTP3: &no}, nil},
		{"HTTP/3 without TLS", ListenConfig{Address: ":80", HTTP3: &yes}, []string{"http3"}},
		{"behind a load balancer", ListenConfig{Address: ":443", TLS: true, ProxyProtocol: &ProxyProtocolConfig{}}, nil},
		{"HTTP/3 behind a load balancer", ListenConfig{Address: ":443", TLS: true, HTTP3: &yes, ProxyProtocol: &ProxyProtocolConfig{}}, []string{"http3"}},
		{"UDP sockets by the number", ListenConfig{Address: ":443", TLS: true, QUICSockets: 32}, nil},
		{"more UDP sockets than can be named", ListenConfig{Address: ":443", TLS: true, QUICSockets: 33}, []string{"quic_sockets"}},
		{"fewer than none", ListenConfig{Address: ":443", TLS: true, QUICSockets: -1}, []string{"quic_sockets"}},
		{"UDP sockets without HTTP/3", ListenConfig{Address: ":443", TLS: true, HTTP3: &no, QUICSockets: 2}, []string{"quic_sockets"}},
		{"a redirection to itself", ListenConfig{Address: ":443", TLS: true, RedirectToHTTPS: true}, []string{"redirect_to_https"}},
		{"an Alt-Svc of an hour", ListenConfig{Address: ":443", TLS: true, AltSvcMaxAge: &hour}, nil},
		{"an Alt-Svc for when HTTP/3 is back", ListenConfig{Address: ":443", TLS: true, HTTP3: &no, AltSvcMaxAge: &hour}, nil},
		{"an Alt-Svc below a second", ListenConfig{Address: ":443", TLS: true, AltSvcMaxAge: &short}, []string{"alt_svc_max_age"}},
		{"an Alt-Svc for ever", ListenConfig{Address: ":443", TLS: true, AltSvcMaxAge: &long}, []string{"alt_svc_max_age"}},
		{"HTTP/3 that was there", ListenConfig{Address: ":443", TLS: true, HTTP3: &no, AltSvcClear: true}, nil},
		{"HTTP/3 that is there and is not", ListenConfig{Address: ":443", TLS: true, AltSvcClear: true}, []string{"alt_svc_clear"}},
		{"a plain listener without HTTP/3", ListenConfig{Address: ":80", AltSvcClear: true}, []string{"alt_svc_clear"}},
		{"no address", ListenConfig{}, []string{"address"}},
		{"no port", ListenConfig{Address: "192.0.2.1"}, []string{"address"}},
		{"port 0", ListenConfig{Address: ":0"}, []string{"address"}},
		{"a port too far", ListenConfig{Address: ":65536"}, []string{"address"}},
		{"a service's name", ListenConfig{Address: ":https"}, []string{"address"}},
		{"a host name", ListenConfig{Address: "localhost:80"}, []string{"address"}},
		{"IPv6 without brackets", ListenConfig{Address: "2001:db8::1:443"}, []string{"address"}},
	}
	for _, tt := range tests {
		if got := reported(&tt.c); !slices.Equal(got, tt.want) {
			t.Errorf("%s: reported %q, want %q", tt.why, got, tt.want)
		}
	}
}

func TestNumberOfQUICSockets(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(7))
	for n, want := range map[int]int{0: 3, 1: 1, 32: 32} {
		if got := (&ListenConfig{QUICSockets: n}).quicSockets(); got != want {
			t.Errorf("quic_sockets %d: %d, want %d", n, got, want)
		}
	}
	runtime.GOMAXPROCS(2*maxOwnSockets + 2)
	if got := (&ListenConfig{}).quicSockets(); got != maxOwnSockets {
		t.Errorf("with many cores: %d", got)
	}
}

func TestCertificateValidate(t *testing.T) {
	if got := reported(&CertificateConfig{CertFile: "a", KeyFile: "b"}); len(got) > 0 {
		t.Errorf("a pair: %q", got)
	}
	if got := reported(&CertificateConfig{}); !slices.Equal(got, []string{"cert_file", "key_file"}) {
		t.Errorf("nothing: %q", got)
	}
}

func TestLimitsValidate(t *testing.T) {
	var c LimitsConfig
	c.SetDefaults()
	if got := reported(&c); len(got) > 0 {
		t.Errorf("the defaults: %q", got)
	}
	all := []string{"max_connections", "max_header_size", "header_timeout", "idle_timeout", "max_streams"}
	if got := reported(&LimitsConfig{}); !slices.Equal(got, all) {
		t.Errorf("nothing: %q, want %q", got, all)
	}
	c.MaxHeaderSize, c.MaxStreams, c.MaxBodySize = 2<<20, 1<<20, -1
	c.MaxConnectionsPerAddress, c.BodyTimeout, c.MinRate = -1, 999*time.Millisecond, -1
	if got := reported(&c); !slices.Equal(got, []string{"max_header_size", "max_body_size", "max_streams",
		"max_connections_per_address", "body_timeout", "min_rate"}) {
		t.Errorf("too much: %q", got)
	}

	c.SetDefaults()
	c.QUICRetryAbove, c.QUICHalfOpen = -1, -1
	if got := reported(&c); !slices.Equal(got, []string{"quic_retry_above", "quic_half_open"}) {
		t.Errorf("less than no handshakes: %q", got)
	}
	c.QUICRetryAbove, c.QUICHalfOpen, c.QUICInitialsPerPrefix.Burst = 100, 100, c.QUICInitials.Burst+1
	if got := reported(&c); !slices.Equal(got, []string{"quic_half_open", "quic_initials_per_prefix.burst"}) {
		t.Errorf("limits that contradict each other: %q", got)
	}
	c.QUICHalfOpen, c.QUICInitials.Rate = 0, 0
	if got := reported(&c); len(got) > 0 {
		t.Errorf("no limits: %q", got)
	}
}

func TestHTTP3IsForTLSWithoutLoadBalancers(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		c    ListenConfig
		want bool
	}{
		{ListenConfig{TLS: true}, true}, {ListenConfig{TLS: true, HTTP3: &no}, false}, {ListenConfig{HTTP3: &yes}, false}, {ListenConfig{}, false},
		{ListenConfig{TLS: true, ProxyProtocol: &ProxyProtocolConfig{}}, false},
	} {
		if got := tt.c.ServeHTTP3(); got != tt.want {
			t.Errorf("%+v: %t", tt.c, got)
		}
	}
}

func TestProxyProtocolValidate(t *testing.T) {
	for prefix, ok := range map[string]bool{
		"10.0.0.0/8": true, "192.0.2.1/32": true, "2001:db8::/32": true, "0.0.0.0/0": true, "10.0.0.1/8": false, "::ffff:10.0.0.0/104": false,
	} {
		c := ProxyProtocolConfig{From: []netip.Prefix{netip.MustParsePrefix(prefix)}}
		if got := reported(&c); (len(got) == 0) != ok {
			t.Errorf("%s: reported %q", prefix, got)
		}
	}
	if got := reported(&ProxyProtocolConfig{}); !slices.Equal(got, []string{"from"}) {
		t.Errorf("nobody: reported %q", got)
	}
}

func TestTLSValidate(t *testing.T) {
	for version, ok := range map[string]bool{"1.2": true, "1.3": true, "1.1": false, "": false, "TLS1.2": false} {
		if got := reported(&TLSConfig{MinVersion: version, EarlyDataMaxAge: time.Hour}); (len(got) == 0) != ok {
			t.Errorf("%q: reported %q", version, got)
		}
	}
}

func TestEarlyDataMaxAge(t *testing.T) {
	for age, ok := range map[time.Duration]bool{time.Second: true, time.Hour: true, 24 * time.Hour: true, 0: false, -time.Hour: false, time.Second - 1: false, 25 * time.Hour: false} {
		c := TLSConfig{EarlyDataMaxAge: age}
		c.MinVersion = "1.2"
		if got := reported(&c); (len(got) == 0) != ok || !ok && got[0] != "early_data_max_age" {
			t.Errorf("%v: reported %q", age, got)
		}
	}
}

func TestRateValidate(t *testing.T) {
	for c, ok := range map[RateConfig]bool{
		{0, 0}: true, {200, 1000}: true, {1, 1}: true, {-1, 1}: false, {1, 0}: false, {2e9, 1}: false, {1, 2e9}: false,
	} {
		if got := reported(&c); (len(got) == 0) != ok {
			t.Errorf("%+v: reported %q", c, got)
		}
	}
}
