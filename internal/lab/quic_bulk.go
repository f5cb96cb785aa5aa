package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nearcast/internal/lab/quicload"
	"nearcast/internal/lab/survival"
)

const (
	bulkSize = 60 << 20
	// bulkMoves is when the route moves after the start: the transfer is under way, and far from its end.
	bulkMoves = 100 * time.Millisecond
	bulkTime  = 60 * time.Second
)

// bulkClients are those that can move bytes.
func bulkClients() []string {
	var names []string
	for _, c := range quicload.Movers() {
		names = append(names, c.Name())
	}
	return names
}

// measureBulk has each client that can move bytes one way and the other, one after the other, and the route under them.
func measureBulk(ctx context.Context, r *quicRun, clients []quicload.Client) []survival.Run {
	var runs []survival.Run
	for _, c := range clients {
		run := survival.Run{Event: "bulk", Client: c.Name(), Sample: survival.Sample{survival.Requests: 0, survival.Failed: 0}}
		awake := watchStalls()
		for _, d := range []quicload.Direction{quicload.Down, quicload.Up} {
			mover, ok := c.(quicload.Mover)
			if !ok {
				run.Err = errors.New("it cannot move bytes")
				break
			}
			if err := r.moveUnder(ctx, mover, d, &run); err != nil {
				run.Err = errors.Join(run.Err, fmt.Errorf("%s: %w", d, err))
			}
		}
		run.Sample[survival.Stalled] = ms(awake())
		runs = append(runs, run)
	}
	return runs
}

// moveUnder adds one transfer to the run, and moves the route under it.
func (r *quicRun) moveUnder(ctx context.Context, c quicload.Mover, d quicload.Direction, run *survival.Run) error {
	target, err := r.target(quicRegion, c.Name(), r.service, quicRate)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, bulkTime, fmt.Errorf("not over after %v", bulkTime))
	defer cancel()
	type end struct {
		transfer quicload.Transfer
		err      error
	}
	ended := make(chan end, 1)
	go func() {
		transfer, err := c.Move(ctx, target, d, bulkSize)
		ended <- end{transfer, err}
	}()
	perr := pause(ctx, bulkMoves)
	moved := time.Now()
	lerr := r.lab.Lead(quicRegion, away, r.service)
	came := <-ended
	if err := errors.Join(perr, lerr, r.lab.Follow(quicRegion, r.service), came.err); err != nil {
		return err
	}
	t := came.transfer
	run.Sample[survival.Requests]++
	run.Sample[survival.Took] += ms(t.Took)
	run.Sample[survival.Stall] = max(run.Sample[survival.Stall], ms(t.Stall))
	if t.Err != "" || !t.Verified {
		run.Sample[survival.Failed]++
		run.Lost = fmt.Sprintf("%s: %d octets of %d, verified %v: %s", d, t.Bytes, bulkSize, t.Verified, t.Err)
		return nil
	}
	if t.Start.Add(t.Took).Before(moved) {
		return errors.New("it was over before the route moved")
	}
	return nil
}
