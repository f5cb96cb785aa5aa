// Package health finds out what is up: it probes origins and the edge's own listeners, demands that results agree several
// times in a row before it believes them, and publishes immutable snapshots.
package health
