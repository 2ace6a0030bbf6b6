// Package proxy is a fault injection proxy between an agent and the API server. It terminates TLS with its own certificate and
// supports HTTP/1.1 and HTTP/2. By default it is transparent. Faults apply to
//
//   - connections: Cut, Blackhole, Stall and Heal;
//   - requests, selected by verb and resource: see Rule.
package proxy
