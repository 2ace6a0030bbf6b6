// Package page renders the status page of an agent: an overview of the namespaces, one namespace, the waivers, the policy, the changes,
// and the page of a standby. The view types are the data of the page: a request with `Accept: application/json` gets them as JSON, and Render
// writes them as HTML. The page works without scripts; its script only refreshes it, filters while the user types, and pauses.
//
// All text from pods and policies is escaped, sanitized and shortened, because anyone may have written it. The package only turns data into
// bytes: it must not depend on a clock, a state, or HTTP.
package page
