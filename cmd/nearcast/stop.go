package main

import (
	"context"
	"os"
	"syscall"
	"time"

	"nearcast/proxy/h3/rescue"
)

// withdrawTimeout bounds how long a stop waits for the neighbors: what they have not heard then they learn from the closed session.
const withdrawTimeout = 3 * time.Second

// stop takes the edge down: the routes go by the drain ladder, clients are told to leave and served while routers move the traffic, requests
// in flight end, then everything is closed from the bottom of the list up. Another signal skips what is being waited for.
func (e *edge) stop(why string, signals <-chan os.Signal) {
	defer e.hurry()
	go e.hurryOnSignal(signals)

	begun := time.Now()
	e.front.SetState(rescue.Draining)
	if e.announcer != nil {
		if !e.withdraw() {
			e.closeSessions(why) // which withdraws too, less gently: no client may be sent here while the edge drains
		}
		e.front.Drain()
		sleep(e.hurried, e.cfg.Shutdown.Settle)
	}
	drain, done := context.WithTimeout(e.hurried, e.cfg.Shutdown.DrainTimeout)
	cut := e.front.Close(drain)
	done()
	e.log.Info("drained", "cut", cut, "took", time.Since(begun))
	if e.speaker != nil {
		e.closeSessions(why)
	}
	e.end()
	e.addresses.Remove() // last: see there
}

// hurryOnSignal ends the waits of a stop at the next signal.
func (e *edge) hurryOnSignal(signals <-chan os.Signal) {
	for {
		select {
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				e.log.Warn("stopping at once", "signal", signalName(sig))
				e.hurry()
			}
		case <-e.hurried.Done():
			return
		}
	}
}

// withdraw takes the routes back, and says whether every neighbor was told.
func (e *edge) withdraw() bool {
	begun := time.Now()
	// Each step goes through the gate.
	ladder := e.cfg.Anycast.DrainTime() + time.Duration(len(e.cfg.Anycast.Drain)+1)*e.cfg.Shutdown.Pause
	ctx, done := context.WithTimeout(context.Background(), ladder+withdrawTimeout)
	defer done()
	skip := context.AfterFunc(e.hurried, func() { // in a hurry there is no ladder to wait for
		e.announcer.Hurry()
		sleep(ctx, withdrawTimeout)
		done()
	})
	defer skip()
	if err := e.announcer.Stop(ctx); err != nil {
		e.log.Warn("the withdrawal may not have reached every neighbor; closing the sessions at once", "error", err)
		return false
	}
	e.log.Info("routes withdrawn", "took", time.Since(begun))
	return true
}

func (e *edge) closeSessions(why string) {
	ctx, done := context.WithTimeout(context.Background(), withdrawTimeout)
	defer done()
	if err := e.speaker.Stop(ctx, "nearcast "+e.cfg.Edge.Name+": "+why); err != nil {
		e.log.Warn("a BGP session did not close in time", "error", err)
	}
}

// end ends the stages from the last to the first, and closes what is left.
func (e *edge) end() {
	for i := len(e.running) - 1; i >= 0; i-- {
		e.running[i].cancel()
		<-e.running[i].done
	}
	select {
	case err := <-e.failed:
		e.log.Warn("a part of the edge failed while it was stopping", "error", err)
	default:
	}
	e.proxy.Close()
	_ = e.cache.Close() // writes what waits for the disk
	_ = e.places.Close()
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
