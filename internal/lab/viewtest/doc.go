// Package viewtest tries what an edge learns of other regions (bgp.View) through real routers, BIRD and FRR, in namespaces of its own.
package viewtest
