package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"text/template"
	"time"

	"nearcast/internal/lab/process"
	"nearcast/internal/lab/router"
	"nearcast/internal/pki"
)

// EdgeOptions are what scenarios vary of an edge's configuration.
type EdgeOptions struct {
	Password        string // of the BGP session instead of the router's
	RegionalOrigins int    // announce_when.healthy_regional_origins
	Rogue           bool   // a second neighbor, in the region's rogue namespace
	Debug           bool   // log at debug level
	NoBFD           bool   // the router's BFD finds nobody here
	Plain           bool   // fleet.quic.rescue is off
}

// AdminAddress is where an edge's operator listener is, inside the edge's namespace.
const AdminAddress = "127.0.0.1:9180"

const rogueASN = 64511

//go:embed edge.yaml.tmpl
var edgeTemplate string

// edgeView is what the template needs.
type edgeView struct {
	EdgeOptions
	Name                 string
	Region               Region
	CertFile, KeyFile    string
	PasswordFile         string
	ASN, RogueASN        uint32
	Prefix4, Prefix6     netip.Prefix
	Router4, Own4, Own6  netip.Addr
	Rogue4               netip.Addr
	RogueOwn4, RogueOwn6 netip.Addr
	HoldTime             time.Duration
	BFD                  time.Duration // interval, 0: none
	BFDMultihop          bool          // FRR takes a neighbor with TTL security for one that is several hops away
	Regions              []regionView
	Service4, Service6   netip.Addr
	FleetSecret          string
	Origins              []originView
	Host, LogLevel       string
}

type originView struct{ Region, URL string }

// regionView is a region and the addresses at which its edges are asked.
type regionView struct {
	Region
	Addresses []netip.Addr
}

// edgeConfig writes the configuration of an edge, whose files are in dir.
func edgeConfig(s Site, dir string, holdTime time.Duration, o EdgeOptions) ([]byte, error) {
	r := s.Region
	v := edgeView{
		EdgeOptions: o, Name: s.Name(), Region: r, Service4: Service4, Service6: Service6, FleetSecret: fleetSecret, ASN: edgeASN, RogueASN: rogueASN, Prefix4: Prefix4, Prefix6: Prefix6,
		CertFile: filepath.Join(dir, "edge.pem"), KeyFile: filepath.Join(dir, "edge.key"),
		HoldTime: holdTime, Host: Host, LogLevel: "info",
	}
	v.Router4, _, v.Own4, v.Own6 = s.addresses()
	v.Rogue4, _, v.RogueOwn4, v.RogueOwn6 = r.addresses(Rogue)
	if r.Secured || o.Password != "" {
		v.PasswordFile = filepath.Join(dir, "bgp.key")
	}
	if !o.NoBFD {
		v.BFD, v.BFDMultihop = bfdInterval, r.Secured && r.Daemon == router.FRR
	}
	if o.Debug {
		v.LogLevel = "debug"
	}
	for _, other := range regions {
		view := regionView{Region: other}
		for _, e := range other.Sites() {
			_, _, own4, _ := e.addresses()
			view.Addresses = append(view.Addresses, own4)
		}
		v.Regions = append(v.Regions, view)
		_, _, own4, _ := other.addresses(Origin)
		v.Origins = append(v.Origins, originView{other.Name, "http://" + net.JoinHostPort(own4.String(), strconv.Itoa(originPort))})
	}
	t, err := template.New("edge").Parse(edgeTemplate)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, v)
	return out.Bytes(), err
}

// makeCertificates makes the authority, one certificate for each edge, and the secret that the edges share.
func (l *Lab) makeCertificates() error {
	authority, err := pki.NewAuthority(time.Now(), "nearcast lab authority", 30*24*time.Hour)
	if err != nil {
		return err
	}
	if err := authority.WriteFile(AuthorityFile); err != nil {
		return err
	}
	if err := os.WriteFile(fleetSecret, []byte(rand.Text()+rand.Text()+"\n"), 0o600); err != nil {
		return err
	}
	for _, s := range allSites() {
		dir := edgeDir(s.Name())
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		err := authority.Issue(s.Name(), []string{Host, "localhost"},
			[]net.IP{Service4.AsSlice(), Service6.AsSlice(), net.IPv4(127, 0, 0, 1)},
			filepath.Join(dir, "edge.pem"), filepath.Join(dir, "edge.key"))
		if err != nil {
			return err
		}
	}
	return nil
}

// AuthorityFile is the certificate that every edge's certificate is signed with.
const AuthorityFile = stateDir + "/authority.pem"

// fleetSecret is the file with what the edges sign their questions to each other with.
const fleetSecret = stateDir + "/fleet.key"

// StartEdge starts the edge of that name. It does not wait for its routes.
func (l *Lab) StartEdge(name string, o EdgeOptions) error {
	s, err := site(name)
	if err != nil {
		return err
	}
	dir := edgeDir(name)
	conf, err := edgeConfig(s, dir, l.options.HoldTime, o)
	if err != nil {
		return err
	}
	key := password
	if o.Password != "" {
		key = o.Password
	}
	file := filepath.Join(dir, "edge.yaml")
	if err := errors.Join(os.WriteFile(file, conf, 0o644), os.WriteFile(filepath.Join(dir, "bgp.key"), []byte(key+"\n"), 0o600)); err != nil {
		return err
	}
	_, err = l.start(process.Spec{
		Name: edgeProgram(name), Namespace: Namespace(Edge, name), Args: []string{l.options.Binary, "run", "-c", file},
		Log: l.LogFile(edgeProgram(name)), Output: l.LogFile(name + "-access"),
	})
	return err
}

// SignalEdge sends a signal to an edge.
func (l *Lab) SignalEdge(name string, s syscall.Signal) error {
	id, err := l.programs.Get(edgeProgram(name))
	if err != nil {
		return err
	}
	return id.Signal(s)
}

// EdgeProcess is the edge of that name. The error is process.ErrGone when it does not run.
func (l *Lab) EdgeProcess(name string) (process.ID, error) { return l.programs.Get(edgeProgram(name)) }

// StopEdge ends an edge in an orderly way and waits for it.
func (l *Lab) StopEdge(ctx context.Context, name string) error {
	const grace = 15 * time.Second // more than its own drain
	return l.programs.Stop(ctx, edgeProgram(name), grace)
}

// StartOrigin starts the region's origin.
func (l *Lab) StartOrigin(name string) error {
	_, err := l.start(process.Spec{
		Name: originProgram(name), Namespace: Namespace(Origin, name), Log: l.LogFile(originProgram(name)),
		Args: []string{l.options.Binary, "lab-origin", "--region", name, "--listen", ":" + strconv.Itoa(originPort)},
	})
	return err
}

// KillOrigin ends the region's origin at once and waits for it.
func (l *Lab) KillOrigin(ctx context.Context, name string) error {
	id, err := l.programs.Get(originProgram(name))
	if err != nil {
		return err
	}
	if err := id.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("origin of %s: %w", name, err)
	}
	return id.Wait(ctx)
}

func edgeProgram(edge string) string     { return edge + "-edge" }
func originProgram(region string) string { return region + "-origin" }
