package loopback

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Status is a snapshot of one service address.
type Status struct {
	Address netip.Addr `json:"address"`
	// Present says that packets to the address stay on this machine.
	Present bool `json:"present"`
	// Ours says that nearcast has put it on the loopback interface, and removes it at the stop.
	Ours bool `json:"ours"`
	// Repairs is how often it was gone and has been put back.
	Repairs uint64 `json:"repairs"`
	// Error says why it could not be looked at or put back; "" when it could.
	Error string `json:"error,omitempty"`
}

// host is what there is of the kernel.
type host interface {
	// permitted is nil when addresses may be added and removed.
	permitted() error
	// list returns the addresses of every interface.
	list() ([]entry, error)
	// local reports whether packets to the address stay on this machine.
	local(netip.Addr) (bool, error)
	// add puts the address on the loopback interface, marked; false when it is there already.
	add(netip.Addr) (bool, error)
	// remove takes it from there; one that is not there is no error.
	remove(netip.Addr) error
	// toward names the interface by which packets to an address leave this machine; "" when none do, or it is not known.
	toward(netip.Addr) string
	// watch returns a channel that wakes its reader when the machine's addresses have changed, until stop is called. Called once.
	watch() (changed <-chan struct{}, stop func())
	close()
}

// entry is one address of an interface.
type entry struct {
	addr     netip.Addr
	loopback bool // it is on the loopback interface, as a whole address and not a prefix
	marked   bool // it was put there by nearcast
}

// Addresses are the service addresses.
type Addresses struct {
	// immutable
	host    host
	all     []netip.Addr
	manage  bool
	log     *slog.Logger
	repairs []*metrics.Counter // as all

	mu     sync.Mutex
	status []Status            // as all; Repairs is filled in when asked for
	added  map[netip.Addr]bool // by this process, and not removed
	marks  bool                // the kernel has been seen to keep the mark
}

// Open prepares for the addresses, each of which there must be once; it changes nothing. With manage they are added and removed,
// otherwise only looked at. The network namespace is that of the calling thread.
func Open(all []netip.Addr, manage bool, log *slog.Logger, set *metrics.Set) (*Addresses, error) {
	h, err := openHost()
	if err != nil {
		return nil, err
	}
	return newAddresses(h, all, manage, log, set), nil
}

func newAddresses(h host, all []netip.Addr, manage bool, log *slog.Logger, set *metrics.Set) *Addresses {
	a := &Addresses{host: h, all: all, manage: manage, log: log, status: make([]Status, len(all)), added: map[netip.Addr]bool{}}
	for i, addr := range all {
		a.status[i].Address = addr
		a.repairs = append(a.repairs, set.NewCounter(fmt.Sprintf(`nearcast_anycast_address_repairs_total{address=%q}`, addr)))
		set.NewGauge(fmt.Sprintf(`nearcast_anycast_address_present{address=%q}`, addr), func() float64 {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.status[i].Present {
				return 1
			}
			return 0
		})
	}
	return a
}

// MetricHelp says what each metric is.
var MetricHelp = map[string]string{
	"nearcast_anycast_address_present":       "Whether packets to the service address stay on this machine: 1 or 0.",
	"nearcast_anycast_address_repairs_total": "Times the service address was gone and has been put back on the loopback interface.",
}

// Status is a snapshot, in the order of Open. Nil for nil.
func (a *Addresses) Status() []Status {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]Status, len(a.status))
	for i, st := range a.status {
		out[i] = st
		out[i].Repairs = a.repairs[i].Get()
	}
	return out
}

// lookEvery is how often the addresses are looked at when the kernel does not report that one has gone.
const lookEvery = time.Second

// restBetween is the least time between two looks, for another program that removes what is put back.
const restBetween = 100 * time.Millisecond
