// Package status builds the views of the status page from a snapshot of the state, the history of the term, and the pods in the cache. It
// responds to HTTP requests for the views with HTML or JSON.
//
// It uses agent/state, agent/history and agent/page, and policies/vap for the enforced checks. It must not depend on leader election, the
// source of the pods, or the HTTP server: agent/server serves the views, after it has checked that this replica may publish.
package status
