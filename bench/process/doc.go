// Package process reads what processes cost from /proc: CPU time, memory and context switches. A measurement reads a [Set] before and
// after the work and takes the difference. It also pins this process to CPUs. Linux only.
package process
