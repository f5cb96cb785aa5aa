package cache

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache/disk"
)

const (
	// firstReopen is when a disk that could not be opened is tried again for the first time, lastReopen the longest time between two tries.
	firstReopen = 10 * time.Second
	lastReopen  = 5 * time.Minute
	// closeLimit is how long Close waits for a disk that does not answer.
	closeLimit = 15 * time.Second
)

// indexShare: the index of what is on disk may take as much memory as one in so many bytes of the memory budget, besides that.
const indexShare = 4

var errSlowClose = errors.New("cache: the disk did not answer while it was being closed")

// opener is how a disk comes to be in use.
type opener struct {
	c      *Cache
	config DiskConfig
	log    *slog.Logger
	set    *metrics.Set
	fs     disk.FS // nil: config.Path
	cancel context.CancelFunc
	task   sync.WaitGroup
	failed atomic.Pointer[error] // why it is not in use
}

// OpenDisk puts a disk tier below the cache, before it is used. Close must be called. The error says what the operator must change. A disk that
// fails is no error: the cache then does without, says so, and tries again every few minutes.
func (c *Cache) OpenDisk(cfg DiskConfig, log *slog.Logger, set *metrics.Set) error {
	return c.openDisk(&opener{c: c, config: cfg, log: log, set: set})
}

func (c *Cache) openDisk(o *opener) error {
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	err := o.open(false)
	if err != nil && !disk.Broken(err) {
		return err
	}
	c.opener = o
	if err == nil {
		return nil
	}
	o.log.Error("the disk cache can't be opened; objects are kept in memory only until it can", "path", o.config.Path, "error", err)
	o.failed.Store(&err)
	ctx, cancel := context.WithCancel(context.Background())
	o.cancel = cancel
	o.task.Go(func() { o.retry(ctx) })
	return nil
}

// open opens the disk. anew has what is there removed: what was replaced or deleted while the disk was out of use is not known.
func (o *opener) open(anew bool) error {
	t := newTier(o.c, min(int64(o.config.MaxObject), int64(o.config.Size)/4))
	s, err := disk.Open(disk.Options{
		Path: o.config.Path, Size: int64(o.config.Size), FS: o.fs, Log: o.log, Set: o.set, Keep: t.worthKeeping, Anew: anew,
		Index: o.c.budget.limit / indexShare,
	})
	if err != nil {
		return err
	}
	t.store = s
	t.startPurges(anew)
	o.c.disk.Store(t)
	return nil
}

func (o *opener) retry(ctx context.Context) {
	for wait := firstReopen; rest(ctx, wait); wait = min(2*wait, lastReopen) {
		err := o.open(true)
		if err == nil {
			o.failed.Store(nil)
			o.log.Info("the disk cache is in use, and empty", "path", o.config.Path)
			return
		}
		o.failed.Store(&err)
	}
}

// Close writes what waits for the disk. It is called when nothing uses the cache any more. It is an error when the disk does not answer for 15 s.
func (c *Cache) Close() error {
	o := c.opener
	if o == nil {
		return nil
	}
	done := make(chan error, 1)
	go func() { // which a disk that hangs may keep for ever
		if o.cancel != nil {
			o.cancel()
			o.task.Wait()
		}
		t := c.tier()
		if t == nil {
			done <- nil
			return
		}
		t.purges.close()
		done <- t.store.Close()
	}()
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-limit.C:
		return errSlowClose
	}
}

// tier is the disk below the cache; nil while there is none.
func (c *Cache) tier() *tier { return c.disk.Load() }

// DiskStatus is the disk tier's state as the status shows it; nil without one.
func (c *Cache) DiskStatus() *DiskStatus {
	o := c.opener
	if o == nil {
		return nil
	}
	t := c.tier()
	if t == nil {
		out := &DiskStatus{State: "unavailable", Limit: int64(o.config.Size), condition: DiskUnavailable}
		if err := o.failed.Load(); err != nil {
			out.Error = (*err).Error()
		}
		return out
	}
	st := t.store.Status()
	out := &DiskStatus{State: st.State.String(), Reason: st.Reason, Records: t.store.Len(), Bytes: t.store.Used(), Limit: t.store.Limit(),
		condition: conditionOf(st)}
	if st.Err != nil {
		out.Error = st.Err.Error()
	}
	return out
}

// DiskStatus says how the disk tier is.
type DiskStatus struct {
	State   string `json:"state"` // loading, ready, degraded (memory only, and tried again), unavailable (not opened yet, and tried again)
	Reason  string `json:"reason,omitempty"`
	Error   string `json:"error,omitempty"`
	Records int    `json:"records"` // objects, and parts of large bodies
	Bytes   int64  `json:"bytes"`
	Limit   int64  `json:"limit_bytes"`

	condition DiskCondition
}

// Disk is the store below the cache; nil when there is none.
func (c *Cache) Disk() *disk.Store {
	if t := c.tier(); t != nil {
		return t.store
	}
	return nil
}
