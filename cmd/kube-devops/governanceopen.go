package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/portforward"
)

func (g *governance) newOpenCommand() *cobra.Command {
	var port int
	var noBrowser bool
	command := &cobra.Command{
		Use:   "open",
		Short: "Open the status page in a browser",
		Long: `Serve the status page of the agent on a loopback address, print its URL, and
open it in a browser. The command runs until Ctrl-C. It adds your own token
where the agent asks for one (--metrics-auth). Only who has the key in the URL
gets an answer, and only to GET.`,
		Args: args(0, 0, ""),
	}
	command.Flags().IntVar(&port, "local-port", 0, "`port` to listen on at 127.0.0.1 (default: any that is free)")
	command.Flags().BoolVar(&noBrowser, "no-browser", false, "print the URL only")
	validateTogether(command, func() error {
		if port < 0 || port > 65535 {
			return fmt.Errorf("--local-port must be from 1 to 65535, got %d", port)
		}
		return g.validate()
	})
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := g.client()
		if err != nil {
			return err
		}
		defer client.Close()
		// What is missing shows here, and not in the browser.
		response, err := get(cmd.Context(), client, "/", "text/html")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("--local-port %d: %w: choose another port", port, err)
		}
		loopback, err := portforward.NewLoopback(listener, client)
		if err != nil {
			return err
		}
		leader, err := client.Leader(cmd.Context())
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", loopback.URL()); err != nil {
			return err
		}
		printLine(cmd.ErrOrStderr(), "serving the pages of "+leader+" until Ctrl-C")
		if !noBrowser {
			openBrowser(cmd.Context(), loopback.LaunchURL())
		}
		return loopback.Serve(cmd.Context())
	}
	return command
}

// openBrowser opens a URL where there is a browser. Where there is none, the user has the printed URL.
func openBrowser(ctx context.Context, url string) {
	var command []string
	switch {
	case runtime.GOOS == "darwin":
		command = []string{"open", url}
	case runtime.GOOS == "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler", url}
	case os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "":
		command = []string{"xdg-open", url}
	default:
		return
	}
	browser := exec.CommandContext(ctx, command[0], command[1:]...)
	if browser.Start() == nil {
		go func() { _ = browser.Wait() }()
	}
}
