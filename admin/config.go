// Package admin serves the operator's side: metrics, status and liveness, on an address of its own.
package admin

// Config says where the operator's listener is.
type Config struct {
	// Address is host:port. Default: none, no listener.
	Address string `yaml:"address"`
}
