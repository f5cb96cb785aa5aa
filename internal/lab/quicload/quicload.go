// Package quicload makes requests with real QUIC clients from inside network namespaces, and keeps what each of them saw: how long it went
// without an answer when the route moved under it, which requests it lost, and how many connections it needed.
package quicload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"nearcast/internal/lab/netns"
)

// usualRate is how many requests a second a client makes unless told otherwise.
const usualRate = 30

const (
	// requestTime bounds a request of the clients that have no bound of their own.
	requestTime = time.Minute
	// leaveTime is how long Stop waits for the answers that are out.
	leaveTime = time.Second
	// maxRequests bounds the records of a run. What would come after them is not asked.
	maxRequests = 1 << 17
)

// Target says where a client stands, what it asks and whom it trusts.
type Target struct {
	Namespace netns.Namespace
	Host      string // the only name that resolves, such as www.lab.example
	Address   netip.Addr
	Port      uint16   // default 443
	Authority string   // PEM file of the authority to trust
	KeyHashes []string // base64 SHA-256 of the public keys to trust, see pki.KeyHash: Chromium knows no authority of a file's
	Dir       string   // for the client's own files, which it removes; must exist
	Log       string   // file that what the client says is appended to
	Rate      float64  // requests a second; default 30
	Path      string   // of the requests; default /dynamic
}

// Record is one request. Times are of this machine's wall clock, so that clients in other processes can be compared with events here.
type Record struct {
	Start, End time.Time
	Err        string // empty: a whole response with a status below 400
	Protocol   string // as ALPN names it: h3, h2
	Via        string // the edge that served, by its pseudonym in the response's last Via entry
	Connection uint64 // counted from 1; 0 when the client does not tell
}

// Unfinished begins the Err of a request that had no answer when its run was stopped. Its End is the stop.
const Unfinished = "unfinished after "

// Client is a program that makes requests.
type Client interface {
	// Name is its own for good, such as quic-go.
	Name() string
	// Available returns an error that says what to install when the machine lacks the client.
	Available() error
	// Start starts requests at t's rate over one connection, which the client keeps, or replaces, as it always does. It returns when the
	// first of them was answered. The caller stops the run.
	Start(ctx context.Context, t Target) (Run, error)
}

// Run is a client under way.
type Run interface {
	// Stop ends the requests and the client with all its processes and files, and returns the records in order of their Start. It waits
	// up to a second for the answers that are out; what still hangs then is in the records, see Unfinished. Stop is called once.
	Stop(ctx context.Context) ([]Record, error)
}

// Clients returns all clients, installed or not.
func Clients() []Client {
	return []Client{quicGo{}, chromium{}, firefox{}, ngtcp2{}, chromium{onlyTCP: true}, http2Client{}}
}

// ByName returns the client of that name.
func ByName(name string) (Client, error) {
	var names []string
	for _, c := range Clients() {
		if c.Name() == name {
			return c, nil
		}
		names = append(names, c.Name())
	}
	return nil, fmt.Errorf("there is no client %q, only %s", name, strings.Join(names, ", "))
}

// complete fills in what t leaves out and checks the rest.
func (t *Target) complete() error {
	if t.Port == 0 {
		t.Port = 443
	}
	if t.Rate == 0 {
		t.Rate = usualRate
	}
	if t.Path == "" {
		t.Path = "/dynamic"
	}
	switch {
	case t.Host == "":
		return errors.New("the target has no host")
	case !t.Address.IsValid():
		return errors.New("the target has no address")
	case t.Rate < 0 || t.Rate > 1000:
		return fmt.Errorf("%g requests a second are not between 0 and 1000", t.Rate)
	case !strings.HasPrefix(t.Path, "/"):
		return fmt.Errorf("path %q does not begin with a slash", t.Path)
	}
	return nil
}

// authority is the host with its port unless that is the usual one, as in a URL.
func (t *Target) authority() string {
	if t.Port == 443 {
		return t.Host
	}
	return fmt.Sprintf("%s:%d", t.Host, t.Port)
}

func (t *Target) url() string { return "https://" + t.authority() + t.Path }

// interval is the time between the starts of two requests.
func (t *Target) interval() time.Duration { return time.Duration(float64(time.Second) / t.Rate) }

// via is the pseudonym in the last of a message's Via entries (RFC 9110 §7.6.3), or what there is.
func via(values []string) string {
	list := strings.Split(strings.Join(values, ","), ",")
	fields := strings.Fields(list[len(list)-1])
	if len(fields) < 2 {
		return strings.Join(fields, "")
	}
	return fields[1]
}

// word is ALPN's for the version of a response.
func word(r *http.Response) string {
	if r.ProtoMajor == 1 {
		return "http/1.1"
	}
	return fmt.Sprintf("h%d", r.ProtoMajor)
}

// installed returns an error that names the Debian package when the program is not there.
func installed(program, debianPackage string) error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("%s (Debian package %s)", program, debianPackage)
	}
	return nil
}
