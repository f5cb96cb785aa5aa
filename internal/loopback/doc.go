// Package loopback keeps the service addresses of the anycast prefixes on the machine's loopback interface, and looks at the settings of
// the host that break anycast.
//
// An address's life, when it is managed: Open (nothing changes) → Prepare adds what is missing, before the listeners are opened → Run
// puts back what somebody removes → Remove, after the routes have been withdrawn and the last connection has ended. A process that is
// killed leaves the addresses; the next Prepare finds them marked and takes them over. What bears no mark is the operator's, and stays.
package loopback
