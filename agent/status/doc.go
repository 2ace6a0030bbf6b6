// Package status makes the data of the status page from a snapshot of the state, the history of the term, and the pods in the cache. It
// answers HTTP requests for the views as HTML or JSON.
//
// It knows agent/state, agent/history and agent/page, and asks policies/vap what is enforced. It must not know who leads, where pods
// come from, or how a page is served: agent/server does that, and asks for the permission to publish first.
package status
