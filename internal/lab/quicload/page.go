package quicload

import (
	"context"
	_ "embed" // for the script
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

//go:embed page.js
var pageScript string

// page is a page of the target's host in a browser.
type page interface {
	// evaluate gives the value of an expression, in JSON, once it has one if it is a promise.
	evaluate(ctx context.Context, expression string) (json.RawMessage, error)
	// close ends the browser with its processes and files.
	close() error
}

// pageRun is a page that makes requests.
type pageRun struct{ page page }

// pageRecord is a request as a page reports it. Times are milliseconds since the Unix epoch.
type pageRecord struct {
	Start      float64 `json:"start"`
	End        float64 `json:"end"`
	Err        string  `json:"err"`
	Protocol   string  `json:"protocol"`
	Via        string  `json:"via"`
	Connection uint64  `json:"connection"`
}

type pageReport struct {
	Now     float64      `json:"now"`
	Records []pageRecord `json:"records"`
	Open    []pageRecord `json:"open"`
}

const pollTime = 20 * time.Millisecond

// startPage starts requests in a page that has loaded, and closes it when that fails.
func startPage(ctx context.Context, p page, t Target) (Run, error) {
	err := load(ctx, p, t)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return &pageRun{p}, nil
}

func load(ctx context.Context, p page, t Target) error {
	path, _ := json.Marshal(t.Path) // a string always has a form in JSON
	start := fmt.Sprintf("%s && (window.quicload.start(%s, %g, %d), true)", pageScript, path, float64(t.interval())/1e6, maxRequests)
	if _, err := p.evaluate(ctx, start); err != nil {
		return err
	}
	var first struct {
		Count int    `json:"count"`
		Err   string `json:"err"`
	}
	err := poll(ctx, func() (bool, error) {
		err := value(ctx, p, "window.quicload.answered()", &first)
		return first.Count > 0, err
	})
	if err == nil && first.Err != "" {
		err = errors.New(first.Err)
	}
	if err != nil {
		return fmt.Errorf("the first request: %w", err)
	}
	return nil
}

// value decodes an expression's.
func value(ctx context.Context, p page, expression string, result any) error {
	data, err := p.evaluate(ctx, expression)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, result)
}

// poll asks until it is done.
func poll(ctx context.Context, ask func() (bool, error)) error {
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		done, err := ask()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (r *pageRun) Stop(ctx context.Context) ([]Record, error) {
	records, err := r.report(ctx)
	err = errors.Join(err, r.page.close())
	if p, ok := r.page.(interface{ number([]Record) }); ok {
		p.number(records)
	}
	return records, err
}

func (r *pageRun) report(ctx context.Context) ([]Record, error) {
	patience, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	err := poll(patience, func() (bool, error) {
		var open int
		err := value(ctx, r.page, "window.quicload.pause()", &open)
		return open == 0, err
	})
	if err != nil && patience.Err() == nil {
		return nil, err
	}
	data, err := r.page.evaluate(ctx, "window.quicload.report()")
	if err != nil {
		return nil, err
	}
	return parseReport(data)
}

// parseReport reads what a page reports. Nothing in it is believed unseen: a page that is wrong about its requests proves nothing.
func parseReport(data []byte) ([]Record, error) {
	var report pageReport
	if err := json.Unmarshal(data, &report); err != nil {
		return nil, fmt.Errorf("the page's report: %w", err)
	}
	if len(report.Records)+len(report.Open) > maxRequests {
		return nil, fmt.Errorf("the page reports %d requests, more than it was to make", len(report.Records)+len(report.Open))
	}
	var records []Record
	for _, p := range report.Records {
		if !sane(p.Start) || !sane(p.End) || p.End < p.Start {
			return nil, fmt.Errorf("the page reports a request from %g to %g", p.Start, p.End)
		}
		records = append(records, Record{moment(p.Start), moment(p.End), p.Err, p.Protocol, via([]string{p.Via}), p.Connection})
	}
	for _, p := range report.Open {
		if !sane(p.Start) || !sane(report.Now) || report.Now < p.Start {
			return nil, fmt.Errorf("the page reports a request from %g that has not ended at %g", p.Start, report.Now)
		}
		records = append(records, unfinished(Record{Start: moment(p.Start)}, moment(report.Now)))
	}
	slices.SortStableFunc(records, byStart)
	return records, nil
}

// sane says that a time is one, of this age.
func sane(ms float64) bool { return ms > 0 && ms < 1e14 && !math.IsNaN(ms) }

// moment is a browser's time.
func moment(ms float64) time.Time {
	return time.UnixMilli(int64(ms)).Add(time.Duration((ms - math.Floor(ms)) * 1e6))
}
