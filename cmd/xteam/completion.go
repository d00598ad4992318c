package main

import "github.com/spf13/cobra"

// completes tells shells what stands where in a command line: no names of files but where a file is meant, and the words of a fixed set.
func completes(root *cobra.Command) {
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	roles := cobra.FixedCompletions([]string{"user", "admin"}, cobra.ShellCompDirectiveNoFileComp)
	files := cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	for _, cmd := range everyCommand(root) {
		switch cmd.CommandPath() {
		case "xteam backup", "xteam restore", "xteam scan":
			cmd.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveDefault)
		case "xteam users create":
			_ = cmd.RegisterFlagCompletionFunc("role", roles) // fails for a flag that is not there alone
		case "xteam users set-role":
			cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
				if len(args) != 1 {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return roles(cmd, args, typed)
			}
		}
		for _, name := range []string{"ca", "checkpoints", "evidence", "file", "log", "out", "vulndb"} {
			if cmd.Flags().Lookup(name) != nil {
				_ = cmd.RegisterFlagCompletionFunc(name, files) // the same
			}
		}
	}
}

func everyCommand(of *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{of}
	for _, cmd := range of.Commands() {
		all = append(all, everyCommand(cmd)...)
	}
	return all
}
