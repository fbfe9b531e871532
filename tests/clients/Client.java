import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** The two clients of the JDK: each prints status and body of the URL that it is given. */
public class Client {
    public static void main(String[] arguments) throws Exception {
        URI uri = URI.create(arguments[1]);
        if (arguments[0].equals("HttpClient")) {
            HttpRequest request = HttpRequest.newBuilder(uri).build();
            HttpResponse<String> answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.body().strip());
        } else {
            HttpURLConnection connection = (HttpURLConnection) uri.toURL().openConnection();
            String body = new String(connection.getInputStream().readAllBytes());
            System.out.println(connection.getResponseCode() + " " + body.strip());
        }
    }
}
