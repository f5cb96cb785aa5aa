package cache

import (
	"errors"
	"fmt"
)

// maxPurgeItems bounds what one request for purges names.
const maxPurgeItems = 10000

// PurgeRequest is what an operator wants purged.
type PurgeRequest struct {
	// URLs are whole; Prefixes begin them: scheme://host/path.
	URLs     []string `json:"urls,omitempty"`
	Prefixes []string `json:"prefixes,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	// All is everything, and stands alone.
	All bool `json:"all,omitempty"`
	// Soft makes it stale rather than gone.
	Soft bool `json:"soft,omitempty"`
	// Service is the one whose objects are meant, "" all. A URL is by itself its service's.
	Service string `json:"service,omitempty"`
}

// Check says what is wrong with the request as a whole.
func (q *PurgeRequest) Check() error {
	switch n := len(q.URLs) + len(q.Prefixes) + len(q.Tags); {
	case n == 0 && !q.All:
		return errors.New("nothing is named: give urls, prefixes or tags, or all")
	case n > 0 && q.All:
		return errors.New("all leaves nothing else to name")
	case n > maxPurgeItems:
		return fmt.Errorf("more than %d are named: a tag or a prefix names many", maxPurgeItems)
	}
	return nil
}

// PurgeItem is what became of one thing that was named.
type PurgeItem struct {
	Kind    string `json:"kind"`             // url, prefix, tag or all
	Target  string `json:"target,omitempty"` // as it was given
	Service string `json:"service,omitempty"`
	Soft    bool   `json:"soft"`
	// Objects is how many stored responses it concerned, nil where that shows only later.
	Objects *int64 `json:"objects,omitempty"`
	// Error is why nothing was done.
	Error string `json:"error,omitempty"`
}

// PurgeResult is what became of a request.
type PurgeResult struct {
	// Seq is the number of the last purge.
	Seq   uint64      `json:"seq"`
	Items []PurgeItem `json:"items"`
}

// Failed reports whether something was not done.
func (r *PurgeResult) Failed() bool {
	for i := range r.Items {
		if r.Items[i].Error != "" {
			return true
		}
	}
	return false
}
