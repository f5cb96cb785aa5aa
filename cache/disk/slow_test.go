package disk

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestADiskThatHangs keeps nobody waiting for long, and only the first ones at all.
func TestADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newFaulty(t)
		s := openTest(t, Options{FS: fs})
		put(t, s, "k", 1, 3*chunkSize)
		any := func(_, _ []byte) bool { return true }
		r, err := s.Get(t.Context(), s.Hash([]byte("k")), any)
		if err != nil {
			t.Fatal(err)
		}
		hang := make(chan struct{})
		fs.hang.Store(&hang)
		took := func(f func() error, want error, most time.Duration) {
			t.Helper()
			began := time.Now()
			if err := f(); !errors.Is(err, want) || time.Since(began) > most {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		}
		get := func(ctx context.Context) func() error {
			return func() error { _, err := s.Get(ctx, s.Hash([]byte("k")), any); return err }
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		took(get(ctx), context.DeadlineExceeded, time.Second)
		cancel()
		took(get(t.Context()), ErrSlow, readLimit)
		for range 1000 {
			took(get(t.Context()), ErrBusy, 0)
		}
		took(func() error { _, err := r.Chunk(t.Context(), 2*chunkSize); return err }, ErrBusy, 0)
		r.Patient = true
		took(func() error { _, err := r.Chunk(t.Context(), 2*chunkSize); return err }, ErrSlow, patience)
		if st := s.Status(); st.State != Ready || st.Reason != "slow" || s.overdue.Load() != 2 {
			t.Errorf("%+v, %d overdue", st, s.overdue.Load())
		}
		fs.hang.Store(nil)
		close(hang)
		synctest.Wait()
		if st := s.Status(); st.Reason != "" || s.overdue.Load() != 0 || len(s.slots) != 0 {
			t.Errorf("%+v, %d overdue, %d under way", st, s.overdue.Load(), len(s.slots))
		}
		if c, err := r.Chunk(t.Context(), 2*chunkSize); err != nil || string(c) != string(pattern("k", 1, 3*chunkSize)[2*chunkSize:]) {
			t.Errorf("afterwards: %v", err)
		}
		took(get(t.Context()), nil, 0)
		s.Close()
	})
}
