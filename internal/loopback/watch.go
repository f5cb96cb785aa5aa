package loopback

import (
	"context"
	"time"
)

// Run looks at the addresses until ctx ends: when the kernel reports a change, and every second. With manage it puts back what
// is missing.
func (a *Addresses) Run(ctx context.Context) {
	changed, stop := a.host.watch()
	defer stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
		a.look()
		rest.Reset(restBetween)
		select {
		case <-ctx.Done():
			return
		case <-rest.C:
		}
	}
}

// look updates the status of every address and puts back what is missing.
func (a *Addresses) look() {
	a.mu.Lock()
	defer a.mu.Unlock()
	there, err := a.host.list()
	for i := range a.all {
		if err != nil {
			a.fault(i, err)
			continue
		}
		found, marked := find(there, a.all[i])
		a.status[i].Ours = a.manage && (marked || a.added[a.all[i]] && !a.marks)
		a.lookAt(i, found)
	}
}

// lookAt is look for one address; found says that an interface has it.
func (a *Addresses) lookAt(i int, found bool) {
	addr, st := a.all[i], &a.status[i]
	here, err := a.host.local(addr)
	if err != nil {
		a.fault(i, err)
		return
	}
	switch {
	case here && !st.Present:
		a.log.Info("the anycast address is on this machine again", "address", addr)
	case here:
	case a.manage && found:
		if !st.Present { // for the second time: an IPv6 address's route takes the kernel a moment
			a.fault(i, errDown)
		}
		st.Present = false
		return
	case a.manage:
		a.repair(i)
		return
	case st.Present:
		a.log.Warn("the anycast address is gone from this machine; put it back", "address", addr)
	}
	st.Present, st.Error = here, ""
}

// repair puts back an address that is gone. It counts as there until the next look.
func (a *Addresses) repair(i int) {
	addr, st := a.all[i], &a.status[i]
	if err := a.add(i); err != nil {
		a.fault(i, err)
		return
	}
	st.Present, st.Error = true, ""
	a.repairs[i].Inc()
	a.log.Warn("the anycast address was gone from this machine and has been put back: some other program removes it", "address", addr)
}

// fault notes why an address could not be looked at or put back, and logs it once. What is not known to be there is not there.
func (a *Addresses) fault(i int, err error) {
	st := &a.status[i]
	st.Present = false
	if st.Error != err.Error() {
		a.log.Error("the anycast address is not under control", "address", a.all[i], "error", err)
	}
	st.Error = err.Error()
}
