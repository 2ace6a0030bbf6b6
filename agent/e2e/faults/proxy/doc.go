// Package proxy stands between one agent and the API server, and does to their conversation what networks, load
// balancers and servers in trouble do to it. It speaks TLS on both sides, with a certificate of its own, HTTP/1.1 and
// HTTP/2 as the client likes, and is transparent until it is told otherwise:
//
//   - to the connections: Cut, Blackhole, Stall, and Heal;
//   - to single requests, chosen by verb and resource: rules, see Rule.
package proxy
