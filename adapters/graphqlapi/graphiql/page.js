const http = GraphiQL.createFetcher({ url: '/graphql' })
const socket = location.origin.replace('http', 'ws') + '/graphql'
function subscribes(params, options) {
  return (options?.documentAST?.definitions ?? []).some(d => d.operation === 'subscription' && (!params.operationName || d.name?.value === params.operationName))
}
function fetcher(params, options) {
  if (!subscribes(params, options)) return http(params, options)
  const wsClient = graphqlWs.createClient({ url: socket, connectionParams: options.headers, retryAttempts: 0 })
  return GraphiQL.createFetcher({ url: '/graphql', wsClient })(params, options)
}
const hint = '# Sign in, then put the token under "Headers": {"Authorization": "Bearer ..."}\n\nmutation {\n  login(input: {username: "", password: ""}) {\n    accessToken\n  }\n}\n'
ReactDOM.createRoot(document.getElementById('graphiql')).render(React.createElement(GraphiQL, { fetcher, defaultQuery: hint, shouldPersistHeaders: false }))
