package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// reloadEvery is the time between two looks at the files of the certificates.
const reloadEvery = 2 * time.Second

// certificates are the configured pairs, read again when their files change. A pair that can't be read keeps what it had.
type certificates struct {
	// immutable
	tcp, quic *tls.Config
	earlyData bool
	ech       *ECHConfig // nil: none
	log       *slog.Logger
	loaded    *metrics.Counter
	failed    *metrics.Counter
	accepted  *metrics.Counter // encrypted Client Hellos that could be read
	outdated  *metrics.Counter // those that could not

	current atomic.Pointer[certIndex]          // what handshakes choose from
	states  atomic.Pointer[[]CertificateState] // what Certificates tells

	mu    sync.Mutex // held during a look
	pairs []*pair
}

// pair is one configured certificate and its key.
type pair struct {
	cfg   CertificateConfig
	files fileState        // as they were when they were last read; none when they are to be read again
	ocsp  fileState        // likewise
	fault string           // why the last read was of no use; "" when it was
	cert  *tls.Certificate // without a staple
	// served is cert with its staple.
	served   *tls.Certificate
	staple   *staple // nil when there is none to send
	notAfter atomic.Int64
	stapled  atomic.Bool
}

// fileState tells whether files have changed.
type fileState [2]struct {
	exists   bool
	size     int64
	modified int64
	file     any // the inode, where the system has them
}

func stateOf(paths ...string) (s fileState) {
	for i, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		s[i].exists, s[i].size, s[i].modified, s[i].file = true, info.Size(), info.ModTime().UnixNano(), inode(info)
	}
	return s
}

// loadCertificates reads and checks every pair. The error joins one sentence for each pair that cannot be served.
func loadCertificates(cfg TLSConfig, now time.Time, log *slog.Logger, set *metrics.Set) (*certificates, error) {
	if len(cfg.Certificates) == 0 {
		return nil, errors.New("tls.certificates is empty, but a listener has tls: true; add a cert_file and a key_file")
	}
	s := &certificates{log: log, earlyData: cfg.EarlyData, ech: cfg.ECH,
		loaded:   set.GetOrCreateCounter(`nearcast_tls_reloads_total{result="loaded"}`),
		failed:   set.GetOrCreateCounter(`nearcast_tls_reloads_total{result="failed"}`),
		accepted: set.GetOrCreateCounter(`nearcast_tls_ech_handshakes_total{result="accepted"}`),
		outdated: set.GetOrCreateCounter(`nearcast_tls_ech_handshakes_total{result="outdated"}`)}
	var errs []error
	for i, c := range cfg.Certificates {
		p := &pair{cfg: c, files: stateOf(c.CertFile, c.KeyFile)}
		if err := s.load(p, now); err != nil {
			errs = append(errs, fmt.Errorf("tls.certificates[%d]: %w", i, err))
			continue
		}
		s.loadStaple(p, now)
		s.pairs = append(s.pairs, p)
		p.register(set)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := s.checkPublicName(); err != nil {
		return nil, err
	}
	s.publish()
	s.note()
	s.configure(&cfg)
	return s, nil
}

// configure makes the configurations of TLS for the two kinds of sockets. They never change: what changes is what get finds.
func (s *certificates) configure(cfg *TLSConfig) {
	base := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.get}
	if cfg.MinVersion == "1.3" {
		base.MinVersion = tls.VersionTLS13
	}
	s.tcp, s.quic = base.Clone(), base.Clone()
	s.tcp.NextProtos = []string{"h2", "http/1.1"}
}

func (s *certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.current.Load().get(hello)
}

// register makes the pair's metrics.
func (p *pair) register(set *metrics.Set) {
	set.GetOrCreateGauge(fmt.Sprintf("nearcast_tls_certificate_not_after_seconds{file=%q}", p.cfg.CertFile),
		func() float64 { return float64(p.notAfter.Load()) })
	if p.cfg.OCSPFile != "" {
		set.GetOrCreateGauge(fmt.Sprintf("nearcast_tls_ocsp_stapled{file=%q}", p.cfg.CertFile), func() float64 {
			if p.stapled.Load() {
				return 1
			}
			return 0
		})
	}
}

// load reads the certificate and its key, both or neither.
func (s *certificates) load(p *pair, now time.Time) error {
	cert, err := loadCertificate(p.cfg, now)
	if err != nil {
		return err
	}
	if left := cert.Leaf.NotAfter.Sub(now); left < expiresSoon {
		s.log.Warn("a certificate expires soon", "file", p.cfg.CertFile, "not_after", cert.Leaf.NotAfter, "names", cert.Leaf.DNSNames)
	}
	p.cert, p.fault = cert, ""
	p.notAfter.Store(cert.Leaf.NotAfter.Unix())
	return nil
}

// loadStaple reads the certificate's status. Without one that is good the certificate is served all the same.
func (s *certificates) loadStaple(p *pair, now time.Time) {
	p.staple = nil
	if p.cfg.OCSPFile != "" {
		p.ocsp = stateOf(p.cfg.OCSPFile)
		var err error
		if p.staple, err = loadStaple(p.cfg.OCSPFile, p.cert, now); errors.Is(err, fs.ErrNotExist) {
			s.log.Info("no OCSP response to staple", "file", p.cfg.OCSPFile)
		} else if err != nil {
			if passes(err) {
				p.ocsp = fileState{}
			}
			s.log.Warn("an OCSP response is not stapled", "file", p.cfg.OCSPFile, "certificate", p.cfg.CertFile, "error", err)
		}
	}
	served := *p.cert
	if p.staple != nil {
		served.OCSPStaple = p.staple.der
	}
	p.served = &served
	p.stapled.Store(p.staple != nil)
}

// publish makes what the pairs are now what handshakes choose from.
func (s *certificates) publish() {
	index := new(certIndex)
	for _, p := range s.pairs {
		index.add(p.served)
	}
	s.current.Store(index)
}

// watch looks at the files until ctx or stop ends.
func (s *certificates) watch(ctx context.Context, stop <-chan struct{}) {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-stop:
			return
		case now := <-tick.C:
			s.look(now)
		}
	}
}

// look reads what has changed, and stops sending what has expired.
func (s *certificates) look(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for _, p := range s.pairs {
		reloaded := s.reload(p, now)
		expired := p.staple != nil && !now.Before(p.staple.nextUpdate)
		if reloaded || expired || p.cfg.OCSPFile != "" && stateOf(p.cfg.OCSPFile) != p.ocsp {
			s.loadStaple(p, now)
			changed = true
		}
	}
	if changed {
		s.publish()
		if err := s.checkPublicName(); err != nil {
			s.log.Error("a changed certificate leaves Encrypted Client Hello without its public name", "error", err)
		}
	}
	s.note() // also the faults of what did not change
}

// errNotYet is a certificate whose time has not come.
var errNotYet = errors.New("check this machine's clock")

// passes reports whether what could not be read may be readable later though no file changes: the system is short of something, or it is
// too early.
func passes(err error) bool {
	return errors.Is(err, errNotYet) || errors.As(err, new(syscall.Errno)) && !errors.Is(err, fs.ErrNotExist)
}

// reload reads a pair whose files have changed. The state is taken first: what changes while they are read is a further change.
func (s *certificates) reload(p *pair, now time.Time) bool {
	files := stateOf(p.cfg.CertFile, p.cfg.KeyFile)
	if files == p.files {
		return false
	}
	again := p.files == fileState{}
	p.files = files
	if err := s.load(p, now); err != nil {
		if passes(err) {
			p.files = fileState{}
		}
		if again && err.Error() == p.fault {
			return false // told already
		}
		p.fault = err.Error()
		s.failed.Inc()
		s.log.Error("a changed certificate can't be served; the one read before stays",
			"certificate", p.cfg.CertFile, "key", p.cfg.KeyFile, "error", err, "serving_until", p.cert.Leaf.NotAfter)
		return false
	}
	s.loaded.Inc()
	s.log.Info("a changed certificate is served from now on", "certificate", p.cfg.CertFile,
		"names", p.cert.Leaf.DNSNames, "not_after", p.cert.Leaf.NotAfter)
	return true
}
