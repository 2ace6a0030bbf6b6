// Package page renders the status page of an agent: an overview of the namespaces, one namespace, the waivers, the policy, the changes,
// and the page of a standby. The types of the views are the data of the page: `Accept: application/json` gets them as JSON, and Render
// writes them as HTML. The page works without scripts; its script only refreshes it, filters as the reader types, and pauses.
//
// All text that comes from pods and policies is escaped, sanitized and shortened, because anyone may have written it. The package must not
// know a clock, a state, or HTTP: data in, bytes out.
package page
