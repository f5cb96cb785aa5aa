// Package load tells how hard pressed this edge is: accept queues, CPU, memory, descriptors, connections and the Go scheduler are sampled
// at a fixed interval, and judged with hysteresis.
//
//	Source ──Reading──▶ tracker (pure: values and times in, a Level out) ──▶ State, an immutable snapshot ──▶ a wake-up without data
//
// A signal that can't be read is Unknown, which the log says once, and is never overload: an edge must not refuse work for a file that
// its system does not have.
package load
