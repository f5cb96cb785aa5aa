// Package bfdtrial tries nearcast's BFD with real routers, BIRD and FRR, in network namespaces of its own: its tests are all that it has. Linux,
// root only.
//
//	bfd-edge ──────── direct ──────── bfd-router
//	    └──── bfd-middle, a hop more ─────┘
package bfdtrial
