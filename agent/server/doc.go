// Package server answers HTTP: health checks, metrics, the report, and pages for people. Its clients may be slow or hostile: it bounds
// connections, concurrent requests, and the time and memory that each takes, so that probes and scrapes succeed in a flood.
//
// It must not know what it serves: it imports neither Kubernetes nor the rules, the state or the reports. Readiness, the
// permission to publish, the access of a client and the pages come in as functions of Options.
package server
