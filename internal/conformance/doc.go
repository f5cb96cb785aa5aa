// Package conformance runs an independent suite of HTTP cache tests, http-cache-tests 0.4.5, against the pipeline with nothing configured but
// an origin. The suite is of 2020, from before RFC 9111: where it asks for what the RFCs have decided otherwise since, the RFCs win,
// and expected says so, case by case. It is not part of this repository: scripts/setup.sh installs it, and without it the test is skipped.
package conformance
