// Command nearcast is the whole product: the edge, its checks, its laboratory and its demonstration.
//
//go:debug multipathtcp=0
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"nearcast/internal/config"
)

// The exit codes. A supervisor need not restart what ended with exitConfig: it would end so again.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitConfig = 3
	exitGuard  = 4 // refused by a safety guard
)

// cli is the command line. Every subcommand is in the file of its name.
type cli struct {
	Run          runCmd          `cmd:"" help:"Run the edge until SIGTERM or SIGINT, then withdraw, drain and stop."`
	Validate     validateCmd     `cmd:"" help:"Check a configuration file and everything it names, without starting anything."`
	Status       statusCmd       `cmd:"" help:"Show how a running edge stands: its routes and why, its BGP and BFD sessions, the other edges, listeners and origins."`
	Drain        drainCmd        `cmd:"" help:"Take a running edge's routes away step by step, while it serves on; undrain brings them back."`
	Undrain      undrainCmd      `cmd:"" help:"Take a drain back, and forgive the flaps that hold routes down."`
	Purge        purgeCmd        `cmd:"" help:"Have a running edge forget URLs, prefixes, tags or everything that it has cached."`
	Explain      explainCmd      `cmd:"" help:"Say which rules of caching decide about a URL, and what to change."`
	HTTPSRecords httpsRecordsCmd `cmd:"" name:"https-records" help:"Print the HTTPS resource records (RFC 9460) that DNS should have for the hosts of the services, with the key of Encrypted Client Hello."`
	Lab          labCmd          `cmd:"" help:"A miniature internet in network namespaces: BIRD, FRR, real edges, links with delay (root)."`
	Demo         demoCmd         `cmd:"" help:"Show the main job on this machine, without root: three edges, a router, a route that moves."`
	Bench        benchCmd        `cmd:"" help:"Put load on an HTTP server and measure it, alone or against others."`
	Version      versionCmd      `cmd:"" help:"Print the version."`

	LabOrigin  labOriginCmd  `cmd:"" hidden:""`
	DemoOrigin demoOriginCmd `cmd:"" hidden:""`

	BenchOrigin benchOriginCmd `cmd:"" hidden:""`
}

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

// std is where the subcommands write.
type std struct{ out, err io.Writer }

// execute runs one command line and returns the exit code.
func execute(args []string, stdout, stderr io.Writer) (code int) {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("nearcast"),
		kong.Description("An anycast-aware edge: HTTP/1.1, HTTP/2 and HTTP/3, a cache, the nearest healthy origin, and the BGP route that is there exactly while it can serve."),
		kong.UsageOnError(),
		kong.Vars{"admin": defaultAdmin},
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code; panic(exitPanic{}) }),
	)
	if err != nil {
		fmt.Fprintln(stderr, "nearcast:", err)
		return exitFailed
	}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exitPanic); !ok {
				panic(r)
			}
			code = exited
		}
	}()
	ctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(stderr, "nearcast:", err)
		fmt.Fprintln(stderr, "Run nearcast --help for the commands.")
		return exitUsage
	}
	ctx.Bind(std{stdout, stderr})
	return report(stderr, ctx.Run())
}

// exitPanic unwinds out of kong after --help.
type exitPanic struct{}

// configError is what kept the configuration from being used.
type configError struct{ error }

func (e configError) Unwrap() error { return e.error }

// guardError is what a safety guard refused.
type guardError struct{ error }

func (e guardError) Unwrap() error { return e.error }

// loadConfig reads the configuration; whatever is wrong with it is a configError.
func loadConfig(file string) (*config.Config, error) {
	cfg, err := config.Load(file)
	if err != nil {
		return nil, configError{err}
	}
	return cfg, nil
}

// report prints err and returns its exit code.
func report(stderr io.Writer, err error) int {
	var invalid config.Errors
	var unread configError
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return exitOK
	case errors.As(err, &invalid):
		fmt.Fprintln(stderr, invalid)
		return exitConfig
	case errors.As(err, &unread):
		fmt.Fprintln(stderr, "nearcast:", err)
		return exitConfig
	case errors.As(err, new(guardError)):
		fmt.Fprintln(stderr, "nearcast:", err)
		return exitGuard
	default:
		fmt.Fprintln(stderr, "nearcast:", err)
		return exitFailed
	}
}
